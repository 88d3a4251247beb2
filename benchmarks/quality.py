"""Quality over HTTP beside librosa: every method, degraded mels, every preset.

    python -m benchmarks.quality --data DIR [--clips N] [--seeds N]
        [--parts methods,degraded,originals,presets] [--presets all|NAME,...] [--picture FILE.svg]

The mels are made by librosa, not by Unmel; librosa's inversion runs on the same mels. Seconds
are of one core: for Unmel a lane's own, shared out over the pack.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx

from benchmarks.bench import HEAD, PEER_ITERATIONS, Bench, Options, Row, read_clips
from benchmarks.degrade import DEGRADATIONS
from benchmarks.originals import originals_part
from benchmarks.peers import load_torchaudio
from benchmarks.picture import draw
from benchmarks.server import running_service
from models.config import MelConfig
from models.inversion import INVERSIONS
from models.joint import JOINT
from models.phase import PHASES
from models.presets import PRESETS

PRESET = "hifigan-22k"
# The inversion that phase methods are compared on, and the phases that inversions are.
GOOD_INVERSION = "smooth"
PLAIN_PHASE = "griffin_lim"


def methods_part(bench: Bench, seeds: int) -> list[Row]:
    """Every method by name, beside librosa."""
    print(f"\n{PRESET}, {len(bench.clips)} clips\n\n{HEAD}")
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        print(row.line(), flush=True)

    for quality in ("draft", "standard", "high"):
        add(bench.unmel(f"consistent, {quality}", PRESET, {"quality": quality}, seeds))
    for method in JOINT:
        if method != "consistent":
            add(bench.unmel(f"{method}, 100", PRESET, {"method": method, "n_iter": 100}))
    for inversion in INVERSIONS:
        options: Options = {"inversion": inversion, "phase": PLAIN_PHASE, "n_iter": 100}
        add(bench.unmel(f"{inversion} + {PLAIN_PHASE}, 100", PRESET, options))
    for phase in PHASES:
        n_iter = 8 if phase == "rtisi_la" else 100
        options = {"inversion": GOOD_INVERSION, "phase": phase, "n_iter": n_iter}
        if phase != PLAIN_PHASE:
            add(bench.unmel(f"{GOOD_INVERSION} + {phase}, {n_iter}", PRESET, options))
    for n_iter in (32, PEER_ITERATIONS):
        add(bench.librosa(PRESET, n_iter))
    if load_torchaudio() is None:
        print("\ntorchaudio does not load here: its InverseMelScale and GriffinLim were not run.")
    else:
        add(bench.torchaudio(PRESET, 32))
    print("\nnnAudio 0.3.4 has no row: its Griffin_Lim raises on torch 2 (istft of real input).")
    return rows


def degraded_part(bench: Bench) -> None:
    """Mels as an acoustic model emits them: PESQ and ESTOI of a few methods."""
    print(f"\n{PRESET}, mels as a model emits them, {len(bench.clips)} clips: PESQ-WB / ESTOI\n")
    print("| mel | draft | standard | smooth + griffin_lim, 100 | librosa, 100 |")
    print("|---|---|---|---|---|")
    two_stage: Options = {"inversion": GOOD_INVERSION, "phase": PLAIN_PHASE, "n_iter": 100}
    for name, change in DEGRADATIONS.items():
        rows = [
            bench.unmel("", PRESET, {"quality": "draft"}, change=change),
            bench.unmel("", PRESET, {"quality": "standard"}, change=change),
            bench.unmel("", PRESET, two_stage, change=change),
            bench.librosa(PRESET, change=change),
        ]
        cells = [f"{row.score.pesq:.2f} / {row.score.estoi:.3f}" for row in rows]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def presets_part(bench: Bench, names: Sequence[str]) -> None:
    """Standard quality against librosa for each preset; equal configs are measured once."""
    print(
        f"\nEvery preset at standard beside librosa, {PEER_ITERATIONS}: {len(bench.clips)} clips\n"
    )
    print("| preset | Unmel PESQ | librosa PESQ | ahead by | Unmel ESTOI | librosa ESTOI |")
    print("|---|---|---|---|---|---|")
    known: dict[MelConfig, tuple[Row, Row]] = {}
    for name in names:
        config = PRESETS[name].config
        if config not in known:
            known[config] = (
                bench.unmel("", name, {"quality": "standard"}),
                bench.librosa(name),
            )
        ours, theirs = (row.score for row in known[config])
        print(
            f"| {name} | {ours.pesq:.2f} | {theirs.pesq:.2f} | {ours.pesq - theirs.pesq:+.2f} "
            f"| {ours.estoi:.3f} | {theirs.estoi:.3f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of wav files")
    parser.add_argument("--clips", type=int, help="at most this many clips")
    parser.add_argument("--few", type=int, default=6, help="clips of the parts after the first")
    parser.add_argument("--seeds", type=int, default=2, help="seeds a clip, for the qualities")
    parser.add_argument("--parts", default="methods,degraded,originals,presets")
    parser.add_argument("--presets", default="all", help="all, or names with commas")
    parser.add_argument("--picture", type=Path, help="draw the first part here, as SVG")
    options = parser.parse_args()
    clips = read_clips(options.data, options.clips)
    names = list(PRESETS) if options.presets == "all" else options.presets.split(",")
    # One thread a process: the service and librosa share the machine.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        running_service() as url,
        httpx.Client(base_url=url, timeout=600) as client,
        ProcessPoolExecutor() as pool,
    ):
        parts = options.parts.split(",")
        if "methods" in parts:
            rows = methods_part(Bench(client, pool, clips), options.seeds)
            if options.picture:
                draw(
                    [(r.name, r.seconds, r.score.pesq, r.peer) for r in rows],
                    options.picture,
                )
        few = Bench(client, pool, clips[: options.few])
        if "degraded" in parts:
            degraded_part(few)
        if "originals" in parts:
            originals_part(Bench(client, pool, clips))
        if "presets" in parts:
            presets_part(few, names)


if __name__ == "__main__":
    main()
