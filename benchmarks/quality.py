"""Quality over HTTP beside librosa: every method, degraded mels, every preset, several voices.

    python -m benchmarks.quality --data [NAME=]DIR [--data ...] [--clips N] [--seeds N] [--few N]
        [--few-seeds N] [--parts methods,degraded,originals,presets,voices] [--seconds N]
        [--presets all|NAME,...] [--figures pesq,estoi,distillmos,p808,periodicity,pitch]
        [--mel clean|blurred over time|...] [--values FILE.csv] [--against FILE.csv]
        [--picture FILE.svg]

The mels are made by librosa, not by Unmel; librosa's inversion runs on the same mels. Seconds
are processor time, which other work hardly changes: of the service's process, HTTP included, or of
the peer's. PESQ on few clips changes by 0.03 to 0.05 with the seed: the first part takes every clip
with four seeds, the originals eight clips with four, the degraded mels, the presets and the voices
eight with two. Voices are folders; the other parts take the first one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx

from benchmarks.bench import (
    HEAD,
    PEER_ITERATIONS,
    QUALITIES,
    Bench,
    Options,
    Row,
    named_folder,
    read_clips,
)
from benchmarks.degrade import DEGRADATIONS
from benchmarks.figures import FIGURES, available
from benchmarks.originals import originals_part
from benchmarks.peers import load_torchaudio
from benchmarks.picture import draw
from benchmarks.scores import mean
from benchmarks.server import service_process
from benchmarks.voices import (
    CLEAN,
    FAMILIES,
    against_part,
    differences_part,
    read,
    voices_part,
)
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES

PRESET = "hifigan-22k"
# The inversion for the comparison of phase methods, and the phase method for that of inversions.
GOOD_INVERSION = "smooth"
PLAIN_PHASE = "griffin_lim"


def _sample(bench: Bench, seeds: int) -> str:
    return f"{len(bench.clips)} clips, {seeds} seeds"


def methods_part(bench: Bench, seeds: int) -> list[Row]:
    """Print the table of every method and librosa."""
    print(f"\n{PRESET}, {_sample(bench, seeds)}\n\n{HEAD}")
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        print(row.line(), flush=True)

    for quality in QUALITIES:
        add(bench.unmel(f"consistent, {quality}", PRESET, {"quality": quality}, seeds))
    for method in JOINT:
        if method != "consistent":
            options: Options = {"method": method, "n_iter": 100}
            add(bench.unmel(f"{method}, 100", PRESET, options, seeds))
    for inversion in INVERSIONS:
        options = {"inversion": inversion, "phase": PLAIN_PHASE, "n_iter": 100}
        add(bench.unmel(f"{inversion} + {PLAIN_PHASE}, 100", PRESET, options, seeds))
    for phase in PHASES:
        n_iter = 8 if phase == "rtisi_la" else 100
        options = {"inversion": GOOD_INVERSION, "phase": phase, "n_iter": n_iter}
        if phase != PLAIN_PHASE:
            add(bench.unmel(f"{GOOD_INVERSION} + {phase}, {n_iter}", PRESET, options, seeds))
    for n_iter in (32, PEER_ITERATIONS):
        add(bench.librosa(PRESET, n_iter, seeds))
    if load_torchaudio() is None:
        print("\ntorchaudio does not load here: its InverseMelScale and GriffinLim were not run.")
    else:
        add(bench.torchaudio(PRESET, 32, seeds))
    print("\nnnAudio 0.3.4 has no row: its Griffin_Lim raises on torch 2 (istft of real input).")
    return rows


def degraded_part(bench: Bench, seeds: int) -> None:
    """Print PESQ and ESTOI of a few methods on degraded mels."""
    print(f"\n{PRESET}, mels as a model emits them, {_sample(bench, seeds)}: PESQ-WB / ESTOI\n")
    print("| mel | draft | standard | smooth + griffin_lim, 100 | librosa, 100 |")
    print("|---|---|---|---|---|")
    two_stage: Options = {"inversion": GOOD_INVERSION, "phase": PLAIN_PHASE, "n_iter": 100}
    for name, change in DEGRADATIONS.items():
        rows = [
            bench.unmel("", PRESET, {"quality": "draft"}, seeds, change),
            bench.unmel("", PRESET, {"quality": "standard"}, seeds, change),
            bench.unmel("", PRESET, two_stage, seeds, change),
            bench.librosa(PRESET, PEER_ITERATIONS, seeds, change),
        ]
        print(f"| {name} | {' | '.join(map(_pair, rows))} |", flush=True)


def _pair(row: Row) -> str:
    return f"{row.score.pesq:.2f} / {row.score.estoi:.3f}"


def presets_part(bench: Bench, names: Sequence[str], seeds: int) -> None:
    """Print every quality and librosa for each preset, and their means.

    Equal configs are measured once, and count in the means as often as they are named.
    """
    print(
        f"\nEvery preset beside librosa, {PEER_ITERATIONS}; {_sample(bench, seeds)}: "
        "PESQ-WB / ESTOI\n"
    )
    print(f"| preset | {' | '.join(QUALITIES)} | librosa | standard ahead by |")
    print("|---|" + "---|" * (len(QUALITIES) + 2))
    known: dict[MelConfig, list[Row]] = {}
    rows: list[list[Row]] = []
    for name in names:
        config = PRESETS[name].config
        if config not in known:
            known[config] = [
                *(bench.unmel("", name, {"quality": quality}, seeds) for quality in QUALITIES),
                bench.librosa(name, PEER_ITERATIONS, seeds),
            ]
        rows.append(known[config])
        print(_preset_line(name, known[config]), flush=True)
    means = [
        Row("", mean([row.score for row in column]), sum(row.seconds for row in column) / len(rows))
        for column in zip(*rows, strict=True)
    ]
    print(_preset_line("mean", means))
    print("| *s per s* | " + " | ".join(f"{row.seconds:.3f}" for row in means) + " | |")


def _preset_line(name: str, rows: Sequence[Row]) -> str:
    """The qualities and librosa, and the lead of the standard quality."""
    ahead = rows[QUALITIES.index("standard")].score.pesq - rows[-1].score.pesq
    return f"| {name} | {' | '.join(map(_pair, rows))} | {ahead:+.2f} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=named_folder,
        action="append",
        required=True,
        help="folder of wav, flac or ogg files, or NAME=FOLDER; once for each voice",
    )
    parser.add_argument("--clips", type=int, help="at most this many clips of each folder")
    parser.add_argument("--seeds", type=int, default=4, help="seeds a clip")
    parser.add_argument("--few", type=int, default=8, help="clips of all parts but the first")
    parser.add_argument("--few-seeds", type=int, default=2, help="seeds of those parts")
    parser.add_argument("--parts", default="methods,degraded,originals,presets,voices")
    parser.add_argument(
        "--presets", help="all, or names with commas; else all, and of voices one of each family"
    )
    parser.add_argument("--figures", default=",".join(FIGURES), help="figures of voices")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="clips of voices are cut to this length"
    )
    parser.add_argument("--mel", default=CLEAN, choices=[CLEAN, *DEGRADATIONS], help="of voices")
    parser.add_argument(
        "--option", action="append", default=[], help="NAME=VALUE of the requests for voices"
    )
    parser.add_argument("--peer", action="store_true", help="librosa beside each preset of voices")
    parser.add_argument("--values", type=Path, help="CSV file to write every value of voices to")
    parser.add_argument("--against", type=Path, help="such a file: print what has changed")
    parser.add_argument("--picture", type=Path, help="SVG file for the picture of the first part")
    return parser.parse_args()


def _names(presets: str | None, default: Sequence[str]) -> Sequence[str]:
    return default if presets is None else list(PRESETS) if presets == "all" else presets.split(",")


def _voices(voices: dict[str, Bench], options: argparse.Namespace) -> None:
    """The part `voices`: its tables and files."""
    print()
    names = available(options.figures.split(","))
    before = read(names, options.against) if options.against else {}
    presets = _names(options.presets, FAMILIES)
    asked = dict(pair.split("=", 1) for pair in options.option)
    measured = voices_part(
        voices,
        presets,
        names,
        options.few_seeds,
        options.mel,
        options.values,
        asked,
        options.peer,
    )
    differences_part(measured, names)
    if options.against:
        against_part(measured, before, names)


def main() -> None:
    """Print the chosen tables."""
    options = _options()
    folders = dict(options.data)
    clips = {name: read_clips(folder, options.clips) for name, folder in folders.items()}
    first = next(iter(clips.values()))
    # One thread a process: the service and librosa share the machine.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        # No clip is refused on a slow machine.
        service_process(UNMEL_MAX_QUEUE_SECONDS="3600", UNMEL_DRAIN_SECONDS="3600") as (
            url,
            process,
        ),
        httpx.Client(base_url=url, timeout=600) as client,
        ProcessPoolExecutor() as pool,
    ):
        parts = options.parts.split(",")
        if "methods" in parts:
            rows = methods_part(Bench(client, process.pid, pool, first), options.seeds)
            if options.picture:
                draw(
                    [(r.name, r.seconds, r.score.pesq, r.peer) for r in rows],
                    options.picture,
                )
        few = Bench(client, process.pid, pool, first[: options.few])
        if "degraded" in parts:
            degraded_part(few, options.few_seeds)
        if "originals" in parts:
            originals_part(Bench(client, process.pid, pool, first), options.seeds)
        if "presets" in parts:
            presets_part(few, _names(options.presets, list(PRESETS)), options.few_seeds)
        if "voices" in parts:
            voices = {
                name: Bench(client, process.pid, pool, found).cut(options.few, options.seconds)
                for name, found in clips.items()
            }
            _voices(voices, options)


if __name__ == "__main__":
    main()
