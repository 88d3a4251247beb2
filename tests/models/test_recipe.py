"""Recipes: what the options ask for, and how overrides meet the qualities."""

from __future__ import annotations

import pytest

from models.errors import Invalid
from models.recipe import resolve
from models.schedule import QUALITIES, Ramp


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("quality", ["draft", "standard", "high"])
def test_a_quality_runs_its_own_schedule(power: int, quality: str) -> None:
    recipe = resolve(power, quality=quality)  # type: ignore[arg-type] # from the table above
    assert recipe.schedule == QUALITIES[power][quality]  # type: ignore[index] # likewise
    assert (recipe.method, recipe.inversion) == ("consistent", None)


def test_high_costs_at_most_four_times_standard() -> None:
    for table in QUALITIES.values():
        assert table["draft"].n_iter < table["standard"].n_iter < table["high"].n_iter
        assert table["high"].n_iter <= 4 * table["standard"].n_iter


@pytest.mark.parametrize(
    ("n_iter", "low", "high"), [(50, "draft", "standard"), (200, "standard", "high")]
)
def test_between_the_qualities_the_schedule_lies_between_theirs(
    n_iter: int, low: str, high: str
) -> None:
    table = QUALITIES[1]
    schedule = resolve(1, n_iter=n_iter).schedule
    assert schedule.n_iter == n_iter
    ends = sorted((table[low].exponent.last, table[high].exponent.last))  # type: ignore[index] # as above
    assert ends[0] <= schedule.exponent.last <= ends[1]


def test_beyond_the_qualities_the_nearest_schedule_is_stretched() -> None:
    assert resolve(1, n_iter=5000).schedule.momentum == QUALITIES[1]["high"].momentum
    assert resolve(1, n_iter=1).schedule.momentum == QUALITIES[1]["draft"].momentum
    assert resolve(1, n_iter=0).n_iter == 0


def test_momentum_overrides_the_ramp() -> None:
    assert resolve(1, momentum=0.5).schedule.momentum == Ramp(0.5, 0.5)


def test_naming_one_stage_takes_the_others_default() -> None:
    assert resolve(1, inversion="transpose").method == "griffin_lim"
    recipe = resolve(2, phase="griffin_lim", momentum=0.0, n_iter=7)
    assert (recipe.inversion, recipe.n_iter, recipe.schedule.momentum.last) == ("pinv", 7, 0.0)


def test_a_joint_method_and_a_stage_contradict_each_other() -> None:
    with pytest.raises(Invalid, match="either a joint method, or an inversion and a phase"):
        resolve(1, method="consistent", inversion="pinv")


def test_a_ramp_ends_where_it_says() -> None:
    ramp = Ramp(1.0, 3.0)
    assert [ramp.at(i, 5) for i in range(6)] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    assert ramp.at(0, 1) == 1.0
