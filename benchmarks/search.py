"""Search for a quality's schedule by a score of every figure, on half of the clips of each voice.

    python -m benchmarks.search --data [NAME=]DIR [--data ...] --quality high [--power 1]
        [--presets NAME,...] [--figures NAME,...] [--minutes 30] [--seconds 7.6]

A trial changes all numbers of the schedule at once, each up or down by chance, and has a twin with
the opposite signs on the same clip, preset and seed. Clip and preset cancel out of the difference
of their scores, which is the sum of the numbers' slopes: least squares finds them all from every
trial, where one number at a time would take as many for each. The schedule moves along the slopes
that exceed their errors if its score rises by that, and is compared with the one in use on the
other half of the clips.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import figures
from benchmarks.bench import QUALITIES, at_rate, named_folder, read_clips
from benchmarks.figures import FIGURES
from benchmarks.peers import extract
from benchmarks.voices import FAMILIES, mean_error
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import preset
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import Quality, Ramp, Schedule

Real = NDArray[np.float64]

UNITS = {
    "PESQ-WB": 0.1,
    "ESTOI": 0.01,
    "DistillMOS": 0.1,
    "P.808": 0.1,
    "periodicity RMSE": -0.02,
    "V/UV F1": 0.02,
}
"""What each figure must change by for a point of the score: about what it moves with the seed."""
PITCH_UNIT = -0.02
"""The same for the mean distance of `r` and `e` from the original's, over all bands."""
SECONDS = 7.6  # DistillMOS looks at 7.68 s, however short a clip is
_RAMPS = "momentum", "reflection", "exponent", "blend"
# Names and trial steps of a schedule's numbers, in the order of `numbers_of`.
STEPS = {
    **{f"{name} {end}": step for name, step in zip(_RAMPS, (0.015, 0.06, 0.03, 0.1), strict=True)
       for end in ("first", "last")},
    "turn": 0.1,
    "comb": 0.05,
    "octaves": 0.3,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """A clip under a preset."""

    preset: str
    config: MelConfig
    clip: int
    references: figures.References
    mel: NDArray[np.float32]
    """`[T, K]`."""


@dataclass(frozen=True, eq=False)
class Run:
    """A schedule for a case."""

    case: Case
    schedule: Schedule
    seed: int


@cache
def _engine() -> Engine:
    torch.set_num_threads(1)
    return Engine()


def in_use(quality: Quality, config: MelConfig) -> Schedule:
    """The present schedule of a quality."""
    return resolve(config.power, octaves=config.octaves, quality=quality).schedule


def measure(run: Run) -> dict[str, figures.Values]:
    """Figures of a run."""
    case = run.case
    recipe = replace(resolve(case.config.power, octaves=case.config.octaves), schedule=run.schedule)
    item = Item(case.mel, case.config, recipe, case.config.samples(len(case.mel)), run.seed)
    wave = np.asarray(_engine().run([item])[0].values, np.float32)
    return figures.compare(case.references, wave, case.config.sample_rate)[0]


def columns(names: Iterable[str]) -> list[str]:
    """Columns of a score: those of the figures, one for all of `pitch`, and the score."""
    found = [c for name in names if name != "pitch" for c in FIGURES[name].columns]
    return [*found, *(["pitch distance"] if "pitch" in names else []), "score"]


def points(values: dict[str, figures.Values], own: dict[str, figures.Values]) -> Real:
    """Columns of a result from its figures and its original's."""
    found: list[float] = []
    score = 0.0
    for name, value in values.items():
        if name != "pitch":
            found += value
            titles = FIGURES[name].columns
            score += sum(v / UNITS[c] for c, v in zip(titles, value, strict=True))
    if "pitch" in values:
        apart = np.abs(np.subtract(values["pitch"], own["pitch"]))
        found.append(float(np.nanmean(apart)) if np.isfinite(apart).any() else 0.0)
        score += found[-1] / PITCH_UNIT
    return np.array([*found, score])


def numbers_of(schedule: Schedule) -> Real:
    """A schedule's numbers."""
    ramps = [getattr(schedule, name) for name in _RAMPS]
    ends = [end for ramp in ramps for end in (ramp.first, ramp.last)]
    return np.array([*ends, schedule.turn, schedule.comb, 0.0])


def schedule_of(start: Schedule, numbers: Real) -> Schedule:
    """The schedule of these numbers, with the iterations of `start`.

    The last number moves work from the whole band to the lowest octave: shares change by its
    powers of two, from half of it to minus half.
    """
    a = [float(x) for x in numbers]
    momentum, reflection, exponent, blend = (Ramp(a[k], a[k + 1]) for k in range(0, 8, 2))
    turn, comb, tilt = a[8:]
    places = np.linspace(0.5, -0.5, len(start.shares))
    shares = np.array(start.shares) * 2.0 ** (tilt * places)
    return replace(
        start,
        momentum=momentum,
        reflection=reflection,
        exponent=exponent,
        blend=blend,
        turn=min(max(turn, 0.0), 1.0),
        comb=max(comb, 0.0),
        shares=tuple(float(x) for x in shares / shares.sum()),
    )


def slopes(signs: Real, halves: Real) -> tuple[Real, Real]:
    """Slopes `[P]` and their standard errors from trials' signs `[n, P]` and half differences."""
    inverse = np.linalg.inv(signs.T @ signs)
    found = inverse @ (signs.T @ halves)
    rest = halves - signs @ found
    variance = rest @ rest / max(len(halves) - signs.shape[1], 1)
    return found, np.sqrt(variance * np.diag(inverse))


class Search:
    """A search around a start.

    Parameters
    ----------
    tuned, kept_out
        Cases of the two halves.
    names
        Figures.
    start
        Schedule in use of a config.
    run
        Figures of many runs: those of `measure`, in processes.
    """

    def __init__(
        self,
        tuned: Sequence[Case],
        kept_out: Sequence[Case],
        names: Sequence[str],
        start: Callable[[MelConfig], Schedule],
        run: Callable[[Iterable[Run]], Iterable[dict[str, figures.Values]]],
    ) -> None:
        self.tuned, self.kept_out, self.columns = tuned, kept_out, columns(names)
        self.start, self._run = start, run
        self.offset = np.zeros(len(STEPS))
        """How far the schedule has moved, in steps."""
        self.reach = 1.0
        """Steps of the surest number in a move; half as many after each that gained nothing."""
        self.draw = np.random.default_rng(0)
        self._own = {id(c): figures.own(c.references) for c in (*tuned, *kept_out)}
        self._in_use: Real | None = None

    def schedule(self, config: MelConfig, offset: Real) -> Schedule:
        """The schedule of a config, this many steps from the one in use."""
        start, steps = self.start(config), np.array(list(STEPS.values()))
        return schedule_of(start, numbers_of(start) + steps * offset)

    def results(self, jobs: Sequence[tuple[Case, Real, int]]) -> Real:
        """Columns `[jobs, columns]` of cases, offsets and seeds."""
        runs = [Run(c, self.schedule(c.config, o), seed) for c, o, seed in jobs]
        pairs = zip(runs, self._run(runs), strict=True)
        return np.array([points(values, self._own[id(run.case)]) for run, values in pairs])

    def round(self) -> None:
        """Try every case once, print the slopes, and move."""
        cases, signs = self.tuned, self.draw.choice([-1.0, 1.0], (len(self.tuned), len(STEPS)))
        seeds = [int(s) for s in self.draw.integers(10**6, size=len(cases))]
        jobs = [
            (case, self.offset + side * row, seed)
            for case, row, seed in zip(cases, signs, seeds, strict=True)
            for side in (1.0, -1.0)
        ]
        values = self.results(jobs)
        halves = (values[0::2] - values[1::2]) / 2.0
        print(f"\n| a step of | {' | '.join(self.columns)} | score by preset |")
        print(f"|{'---|' * (len(self.columns) + 2)}")
        found = [slopes(signs, column) for column in halves.T]
        by_preset = []
        for name in dict.fromkeys(case.preset for case in cases):
            mine = np.array([case.preset == name for case in cases])
            if mine.sum() > len(STEPS):
                by_preset.append((name, *slopes(signs[mine], halves[mine, -1])))
        for k, name in enumerate(STEPS):
            cells = [f"{slope[k]:+.3f} ± {error[k]:.3f}" for slope, error in found]
            parts = ", ".join(f"{p} {s[k]:+.1f} ± {e[k]:.1f}" for p, s, e in by_preset)
            print(f"| {name} | {' | '.join(cells)} | {parts} |")
        self._move(found[-1][0] / found[-1][1])

    def _move(self, sure: Real) -> None:
        """Move along slopes by their ratios to their errors, if that raises the score as well.

        A slope is that between two trials: on both sides of an optimum the score falls.
        """
        way = np.where(np.abs(sure) > 1.0, np.clip(sure / 4.0, -1.0, 1.0), 0.0) * self.reach
        seeds = [int(s) for s in self.draw.integers(10**6, size=len(self.tuned))]
        pairs = list(zip(self.tuned, seeds, strict=True))
        here, there = (
            self.results([(case, offset, seed) for case, seed in pairs])[:, -1].mean()
            for offset in (self.offset, self.offset + way)
        )
        better = there > here
        if better:
            self.offset += way
        else:
            self.reach /= 2.0
        print(f"\na move changes the score by {there - here:+.3f}: {'taken' if better else 'left'}")

    def compare(self) -> None:
        """Print the schedule, and what it brings on the clips kept out."""
        jobs = [(case, np.zeros(len(STEPS)), 10**6 + k) for k, case in enumerate(self.kept_out)]
        if self._in_use is None:
            self._in_use = self.results(jobs)
        change = self.results([(c, self.offset, seed) for c, _, seed in jobs]) - self._in_use
        config = self.kept_out[0].config
        numbers = numbers_of(self.schedule(config, self.offset))
        numbers[-1] = self.offset[-1] * STEPS["octaves"]
        told = (f"{name} {x:.3f}" for name, x in zip(STEPS, numbers, strict=True))
        print(f"\n{self.kept_out[0].preset}: {', '.join(told)}")
        # A clip's presets are no independent clips.
        of = np.array([case.clip for case in self.kept_out])
        means = [change[of == clip].mean(axis=0) for clip in np.unique(of)]
        cells = zip(self.columns, *mean_error(np.array(means)), strict=True)
        print("kept out: " + ", ".join(f"{c} {m:+.3f} ± {e:.3f}" for c, m, e in cells), flush=True)


def main() -> None:
    """Print slopes and the schedule after every round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", action="append", type=named_folder, required=True)
    parser.add_argument("--quality", default="high", choices=QUALITIES)
    parser.add_argument("--power", type=float, default=1.0, help="of the presets' mels")
    parser.add_argument("--presets", default=",".join(FAMILIES))
    parser.add_argument("--figures", default="pesq,estoi,distillmos,p808,pitch")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a clip at most")
    parser.add_argument("--clips", type=int, help="of each voice at most")
    options = parser.parse_args()
    names = figures.available(options.figures.split(","))
    configs = {name: preset(name).config for name in options.presets.split(",")}
    configs = {name: c for name, c in configs.items() if c.power == options.power}
    halves: tuple[list[Case], list[Case]] = [], []
    with ProcessPoolExecutor() as pool:
        number = 0
        for _, folder in options.data:
            for k, clip in enumerate(read_clips(folder, options.clips)):
                wave = clip[0][: int(options.seconds * clip[1])]
                known = pool.submit(figures.references, names, wave, clip[1]).result()
                for name, config in configs.items():
                    linear = extract(config, at_rate((wave, clip[1]), config.sample_rate)).values
                    mel = np.ascontiguousarray(linear.T)
                    halves[k % 2].append(Case(name, config, number, known, mel))
                number += 1
        search = Search(
            *halves,
            names,
            partial(in_use, options.quality),
            lambda runs: pool.map(measure, runs),
        )
        print(f"{len(halves[0])} cases, {len(halves[1])} kept out, of {', '.join(configs)}")
        began = time.monotonic()
        while time.monotonic() - began < 60.0 * options.minutes:
            search.round()
            search.compare()


if __name__ == "__main__":
    main()
