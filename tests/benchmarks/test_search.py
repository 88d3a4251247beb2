"""The schedule search: slopes are found from trials of all numbers at once, and followed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from benchmarks import search
from benchmarks.figures import FIGURES, Values
from unmel.models.mel.presets import preset

CONFIG = preset("hifigan-22k").config
IN_USE = search.in_use("standard", CONFIG)


def _case(clip: int) -> search.Case:
    return search.Case("hifigan-22k", CONFIG, clip, {}, np.zeros((4, 80), np.float32))


def test_a_schedules_numbers_give_the_schedule_again() -> None:
    again = search.schedule_of(IN_USE, search.numbers_of(IN_USE))
    assert again.shares == pytest.approx(IN_USE.shares)
    assert again == IN_USE.__class__(**{**vars(IN_USE), "shares": again.shares})


def test_the_last_number_moves_work_to_the_lowest_octave() -> None:
    numbers = search.numbers_of(IN_USE)
    numbers[-1] = 1.0
    shares = search.schedule_of(IN_USE, numbers).shares
    ratios = np.array(shares) / np.array(IN_USE.shares)
    assert sum(shares) == pytest.approx(1.0)
    assert ratios[0] / ratios[-1] == pytest.approx(2.0)


def test_slopes_of_all_numbers_come_from_the_same_trials_within_their_errors() -> None:
    draw = np.random.default_rng(1)
    true = np.array([2.0, -1.0, 0.0, 0.5])
    signs = draw.choice([-1.0, 1.0], (400, 4))
    found, error = search.slopes(signs, signs @ true + draw.standard_normal(400))
    assert error == pytest.approx(1.0 / np.sqrt(400), rel=0.2)
    assert np.all(np.abs(found - true) < 4.0 * error)


def test_every_figure_has_a_unit_and_better_ones_raise_the_score() -> None:
    singles = [name for name in FIGURES if name != "pitch"]
    assert set(search.UNITS) == {c for name in singles for c in FIGURES[name].columns}
    own: dict[str, Values] = {"pitch": (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)}
    better = search.points({"pesq": (4.0,), "pitch": own["pitch"]}, own)
    worse = search.points({"pesq": (3.9,), "pitch": (0.5,) * 6}, own)
    assert len(better) == len(search.columns(["pesq", "pitch"]))
    assert better[-1] > worse[-1] + 1.0


def test_a_search_moves_towards_what_scores_better_and_says_so_of_clips_kept_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(runs: Iterable[search.Run]) -> Iterable[dict[str, Values]]:
        # Less momentum at the end is better, and the seed disturbs it.
        for job in runs:
            noise = np.random.default_rng(job.seed).normal(0.0, 0.01)
            yield {"pesq": (4.0 - 2.0 * job.schedule.momentum.last + noise,)}

    tuned, kept_out = [_case(k) for k in range(40)], [_case(k) for k in range(40, 48)]
    found = search.Search(tuned, kept_out, ["pesq"], lambda _: IN_USE, run)
    found.round()
    found.compare()
    schedule = found.schedule(CONFIG, found.offset)
    assert schedule.momentum.last < IN_USE.momentum.last
    assert "kept out: PESQ-WB +0.0" in capsys.readouterr().out


def test_a_search_stays_at_an_optimum_whose_sides_fall_unevenly() -> None:
    def run(runs: Iterable[search.Run]) -> Iterable[dict[str, Values]]:
        for job in runs:
            away = job.schedule.momentum.last - IN_USE.momentum.last
            yield {"pesq": (4.0 - (9.0 * away if away > 0.0 else -3.0 * away),)}

    tuned = [_case(k) for k in range(40)]
    found = search.Search(tuned, tuned, ["pesq"], lambda _: IN_USE, run)
    found.round()
    assert not found.offset.any()
    assert found.reach == 0.5
