"""Every figure of each quality for several voices and presets, beside the originals' own.

Cells are means and standard errors: a clip's seeds are averaged first, because they are no
independent clips, and the error is that of the clips' means. Differences are taken clip by clip,
which finds far smaller ones than the rows' own errors would tell.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import figures
from benchmarks.bench import PEER_ITERATIONS, QUALITIES, Bench, Options, Results
from benchmarks.degrade import DEGRADATIONS
from benchmarks.figures import FIGURES

FAMILIES = (
    "hifigan-22k",
    "vocos-24k",
    "cosyvoice2-24k",
    "bigvgan-44k",
    "speecht5-16k",
    "styletts2-24k",
    "coqui-22k",
    "nemo-22k",
    "whisper-80",
    "librosa",
)
"""A preset of each family of front-ends."""
CLEAN = "clean"
LIBROSA = "librosa"

Real = NDArray[np.float64]
Measured = dict[tuple[str, str, str], Real]
"""Values `[clips, seeds, columns]` by voice, preset and quality."""


def mean_error(values: Real) -> tuple[Real, Real]:
    """Means and standard errors `[columns]` of clips' values `[clips, columns]`.

    A clip without a value (nan) does not count; the error of less than two clips is nan.
    """
    known = np.isfinite(values)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        square = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
        error = np.sqrt(square / (count - 1) / count)
    return mean, np.where(count > 1, error, np.nan)


def _line(titles: Iterable[str], values: Real, names: Sequence[str], sign: str = "") -> str:
    """A row of a table from clips' values `[clips, columns]`."""
    mean, error = mean_error(values)
    digits = [FIGURES[name].digits for name in names for _ in FIGURES[name].columns]
    cells = [
        "–"
        if np.isnan(m)
        else f"{m:{sign}.{d}f}" + ("" if np.isnan(e) else f" ± {e:.{max(d, 2)}f}")
        for m, e, d in zip(mean, error, digits, strict=True)
    ]
    return f"| {' | '.join([*titles, *cells])} |"


def _head(titles: Sequence[str], names: Sequence[str]) -> str:
    cells = [*titles, *(column for name in names for column in FIGURES[name].columns)]
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def _flat(values: Mapping[str, figures.Values], names: Sequence[str]) -> list[float]:
    return [value for name in names for value in values[name]]


def _references(job: tuple[Sequence[str], Any, int]) -> figures.References:
    return figures.references(*job)


def _compare(job: tuple[figures.References, Any, int]) -> figures.Timed:
    return figures.compare(*job)


def voices_part(
    voices: Mapping[str, Bench],
    presets: Sequence[str],
    names: Sequence[str],
    seeds: int,
    mel: str = CLEAN,
    values: Path | None = None,
    options: Options | None = None,
    peer: bool = False,
) -> Measured:
    """Print a table of each voice, and what each figure costs.

    Parameters
    ----------
    voices : mapping of str to Bench
        The service and a voice's clips, by the voice's name.
    presets, names : sequence of str
        Presets, and figures, which `figures.available` has found.
    seeds : int
        Seeds of each clip.
    mel : str
        `CLEAN`, or a name of `DEGRADATIONS`.
    values : Path, optional
        File that every value is written to, after each row: a long run may be ended.
    options : mapping, optional
        Options of every request beside config, quality and seed.
    peer : bool
        Whether librosa gets a row too.

    Returns
    -------
    Measured
        Every value.
    """
    measured: Measured = {}
    spent: list[dict[str, float]] = []
    for voice, bench in voices.items():
        began = time.monotonic()
        jobs = [(names, wave, rate) for wave, rate in bench.clips]
        found = list(bench.pool.map(_references, jobs))
        print(
            f"\n{voice}, {len(bench.clips)} clips, {seeds} seeds, {mel} mels "
            f"(the originals took {time.monotonic() - began:.0f} s)\n"
        )
        print(_head(["preset", "quality"], names))
        own = np.array([_flat(figures.own(reference), names) for reference in found])
        print(_line(["*original*", ""], own, names), flush=True)
        for preset in presets:
            change = DEGRADATIONS.get(mel, lambda values: values)
            for quality in [*QUALITIES, LIBROSA] if peer else QUALITIES:
                if quality == LIBROSA:
                    results = bench.librosa_results(preset, PEER_ITERATIONS, seeds, change)
                else:
                    asked = {"quality": quality, **(options or {})}
                    results = bench.results(preset, asked, seeds, change)
                row, seconds = _measure(bench, found, results, seeds, names)
                measured[voice, preset, quality] = row
                spent += seconds
                print(_line([preset, quality], row.mean(axis=1), names), flush=True)
                if values:
                    write(measured, names, values)
    costs = {name: np.mean([seconds[name] for seconds in spent]) for name in names}
    print("\nProcessor seconds for a result: ", end="")
    print(", ".join(f"{name} {cost:.2f}" for name, cost in costs.items()))
    return measured


def _measure(
    bench: Bench,
    found: Sequence[figures.References],
    results: Results,
    seeds: int,
    names: Sequence[str],
) -> tuple[Real, list[dict[str, float]]]:
    """Values `[clips, seeds, columns]` of results, and the figures' seconds."""
    rate = results.rate
    jobs = [
        (found[k], audio, rate) for (k, _), audio in zip(results.jobs, results.audio, strict=True)
    ]
    timed = list(bench.pool.map(_compare, jobs))
    values = np.array([_flat(v, names) for v, _ in timed])
    # Jobs go through every clip with one seed, then with the next.
    values = values.reshape(seeds, len(found), -1).swapaxes(0, 1)
    return values, [seconds for _, seconds in timed]


def _by_clip(measured: Measured, voice: str, quality: str, presets: Sequence[str]) -> Real:
    """Means over presets and seeds, `[clips, columns]`."""
    means = [measured[voice, preset, quality].mean(axis=1) for preset in presets]
    return np.asarray(np.mean(means, axis=0), np.float64)


def differences_part(measured: Measured, names: Sequence[str]) -> None:
    """Print what each quality has over the one below, clip by clip, in the mean of the presets."""
    voices = list(dict.fromkeys(voice for voice, _, _ in measured))
    presets = list(dict.fromkeys(preset for _, preset, _ in measured))
    print(f"\nQualities, clip by clip, means of the presets\n\n{_head(['voice', 'gain'], names)}")
    for lower, upper in pairwise(QUALITIES):
        title = f"{upper} − {lower}"
        found = [
            _by_clip(measured, voice, upper, presets) - _by_clip(measured, voice, lower, presets)
            for voice in voices
        ]
        for voice, values in zip(voices, found, strict=True):
            print(_line([voice, title], values, names, "+"))
        if len(voices) > 1:
            print(_line(["*all*", title], np.concatenate(found), names, "+"), flush=True)


def against_part(measured: Measured, before: Measured, names: Sequence[str]) -> None:
    """Print what changed since values that were written before, on the same clips and figures."""
    shared = [
        key
        for key, values in measured.items()
        if key in before
        and (before[key].shape[0], before[key].shape[2]) == (values.shape[0], values.shape[2])
    ]
    print("\nChange, clip by clip\n")
    if not shared:
        print("The file has no voice, preset and quality with these clips and figures.")
        return
    print(_head(["voice", "preset", "quality"], names))
    changes = {key: measured[key].mean(axis=1) - before[key].mean(axis=1) for key in shared}
    for key, values in changes.items():
        print(_line(key, values, names, "+"))
    for quality in QUALITIES:
        found = [values for key, values in changes.items() if key[2] == quality]
        if found:
            print(_line(["*all*", "*all*", quality], np.concatenate(found), names, "+"))


def write(measured: Measured, names: Sequence[str], file: Path) -> None:
    """Write every value as CSV: voice, preset, quality, clip, seed, then the columns."""
    columns = [column for name in names for column in FIGURES[name].columns]
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["voice", "preset", "quality", "clip", "seed", *columns])
        for key, values in measured.items():
            for (clip, seed), _ in np.ndenumerate(values[..., 0]):
                rows.writerow([*key, clip, seed, *(float(v) for v in values[clip, seed])])


def read(names: Sequence[str], file: Path) -> Measured:
    """Values that `write` wrote, of these figures; nan where the file has no such column."""
    columns = [column for name in names for column in FIGURES[name].columns]
    found: dict[tuple[str, str, str], dict[tuple[int, int], list[float]]] = {}
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            key = row["voice"], row["preset"], row["quality"]
            values = [float(row.get(column, "nan")) for column in columns]
            found.setdefault(key, {})[int(row["clip"]), int(row["seed"])] = values
    measured = {}
    for key, cells in found.items():
        clips, seeds = (max(index) + 1 for index in zip(*cells, strict=True))
        measured[key] = np.array([[cells[c, s] for s in range(seeds)] for c in range(clips)])
    return measured
