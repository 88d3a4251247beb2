"""Recipes from options: defaults, overrides, interpolated schedules and costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.method import Method
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import QUALITIES, Quality, Ramp
from unmel.models.methods.start.starts import STARTS


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("quality", ["draft", "standard", "high"])
def test_a_quality_runs_its_own_schedule(power: int, quality: str) -> None:
    recipe = resolve(power, quality=quality)  # type: ignore[arg-type] # from the table above
    assert recipe.schedule == QUALITIES[power][quality]  # type: ignore[index] # likewise
    assert (recipe.method, recipe.inversion) == ("consistent", None)


def test_a_relaxed_fit_begins_as_the_exact_one_and_ends_with_a_slight_correction() -> None:
    exact, relaxed = resolve(1).schedule, resolve(1, fit="relaxed").schedule
    assert relaxed.exponent.first == exact.exponent.first
    assert relaxed.exponent.last < 0.5
    assert dataclasses.replace(relaxed, exponent=exact.exponent) == exact


@pytest.mark.parametrize("option", ["harmonics", "fit"])
def test_an_unknown_choice_is_refused_with_the_known_ones(option: str) -> None:
    with pytest.raises(Invalid, match=option):
        resolve(1, **{option: "loud"})  # type: ignore[arg-type] # a wrong one


@pytest.mark.parametrize("quality", ["draft", "standard", "high"])
def test_a_schedule_of_another_power_lies_between_those_of_1_and_2(quality: Quality) -> None:
    one, two = (QUALITIES[power][quality] for power in (1, 2))
    assert resolve(0.5, quality=quality).schedule == one  # as below 1 every exponent is
    for power in (1.3, 1.7):
        made = resolve(power, quality=quality).schedule
        assert made == dataclasses.replace(one, exponent=made.exponent)
        share = power - 1.0
        for end in ("first", "last"):
            ends = (getattr(row.exponent, end) for row in (one, two))
            expected = np.interp(share, [0.0, 1.0], list(ends))
            assert getattr(made.exponent, end) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.5, 1.3, 1.7])
def test_iterations_and_stages_do_not_depend_on_the_power(power: float) -> None:
    for options in ({}, {"n_iter": 1}, {"n_iter": 57}, {"octaves": 0}, {"method": "admm_mel"}):
        ours, theirs = (resolve(p, **options) for p in (power, 1))  # type: ignore[arg-type] # names of options
        assert ours.n_iter == theirs.n_iter
        stages = [
            [s.n_iter for s in r.schedule.stages(len(r.schedule.shares))] for r in (ours, theirs)
        ]
        assert stages[0] == stages[1]


def test_the_schedules_are_the_defaults_own() -> None:
    other = resolve(1, method="admm_mel", n_iter=7).schedule
    assert (other.n_iter, other.turn) == (7, 1.0)  # first phases all around the circle


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


def points(**options: object) -> float:
    """Work for a row of HiFi-GAN's config, in pairs of transforms."""
    config = PRESETS["hifigan-22k"].config
    return resolve(1, **options).points(config) / config.n_fft  # type: ignore[arg-type] # names of options


@pytest.mark.parametrize("name", [*JOINT, *PHASES])
def test_iterations_count_alike_for_every_method(name: str) -> None:
    kind = "method" if name in JOINT else "phase"
    none, some, twice = (points(**{kind: name, "n_iter": n}) for n in (0, 32, 64))
    assert 5.0 < some - none < 500.0
    assert twice - some == pytest.approx(some - none)


@pytest.mark.parametrize(
    ("less", "more", "share"),
    [
        ({"phase": "raar"}, {"phase": "difference_map"}, 2.0),
        ({"phase": "raar"}, {"phase": "difference_map", "params": {"beta": 1.0}}, 1.0),
        ({"phase": "raar"}, {"phase": "lbfgs"}, 2.0),
        ({"phase": "lbfgs"}, {"phase": "lbfgs", "params": {"history": 50}}, 2.0),
        ({"phase": "rtisi_la"}, {"phase": "rtisi_la", "params": {"lookahead": 15}}, 1.0),
        ({"phase": "rtisi_la"}, {"phase": "rtisi_la", "params": {"lookahead": 16}}, 34 / 32),
    ],
)
def test_parameters_and_second_transforms_are_counted(
    less: dict[str, object], more: dict[str, object], share: float
) -> None:
    bare = points(phase="raar", n_iter=0)
    costs = [points(n_iter=32, **options) - bare for options in (less, more)]
    assert costs[1] / costs[0] == pytest.approx(share, rel=0.3 if share == 2.0 else 0.03)


def test_starts_and_inversions_are_counted() -> None:
    plain = points(phase="griffin_lim", n_iter=8)
    assert points(phase="griffin_lim", n_iter=8, start="given") == plain
    assert points(phase="griffin_lim", n_iter=8, start="spsi") > plain + 5
    assert points(phase="griffin_lim", n_iter=8, start="pghi") > plain + 10
    for name in ("smooth", "nnls", "lbfgs", "gradient"):
        few, many, most = (
            points(inversion=name, n_iter=8, inversion_params={"n_iter": n}) for n in (5, 50, 1000)
        )
        assert plain < few < many <= most
    # The end of a frame is not known beforehand; most end long before the largest number of steps.
    assert points(inversion="nnls", n_iter=8, inversion_params={"n_iter": 5000}) < 200


@pytest.mark.parametrize("table", [JOINT, INVERSIONS, PHASES, STARTS])
def test_a_cost_is_described_in_words(table: dict[str, Method]) -> None:
    for name, method in table.items():
        counted = method.work.once or method.work.step
        assert ("product" in method.cost or "transforms" in method.cost) == bool(counted), name
    assert JOINT["consistent"].cost == "2 products and 1 pair of transforms an iteration"
