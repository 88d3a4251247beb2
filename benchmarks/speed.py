"""Speed: iterations against their two transforms, peers' whole pipelines, lanes, start-up.

    python -m benchmarks.speed --data DIR [--clips N] [--configs NAME,...] [--repeats N]
        [--parts iterations,loops,peers,lanes,start] [--page FILE.md]

Prints Markdown; `--page` puts each part between its marks in a page too. Peers run at their
defaults on one thread. Seconds are the processor's, in turns, medians; ratios are of one run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

# Before torch and librosa are imported, which read it then.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
import torch

from benchmarks.bench import at_rate, read_clips
from benchmarks.lanes import lanes_table
from benchmarks.loops import loops_table
from benchmarks.neural import vocos_network
from benchmarks.peers import (
    Wave,
    extract,
    librosa_audio,
    load_torchaudio,
    torchaudio_audio,
)
from benchmarks.scores import score
from benchmarks.timing import (
    Work,
    in_turns,
    start_up,
    two_transforms,
)
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.joint.octaves import stages
from unmel.models.methods.recipe import DEFAULT_HARMONICS, Harmonics, resolve
from unmel.models.methods.schedule import Quality, iterations

Clips = Sequence[tuple[Wave, int]]

CONFIGS = "hifigan-22k,vocos-24k,whisper-80,speecht5-16k,bigvgan-44k-256,librosa"
PRESET = "hifigan-22k"
NEURAL_PRESET = "vocos-24k"
PACKS = {"1 x 10 s": (10.0,), "10 x 10 s": (10.0,) * 10, "1 x 100 s": (100.0,)}
PEER_ITERATIONS = 32  # librosa's and torchaudio's default


def items_of(
    engine: Engine,
    config: MelConfig,
    clips: Clips,
    lengths: Sequence[float],
    quality: Quality,
    harmonics: Harmonics = DEFAULT_HARMONICS,
) -> list[Item]:
    """Items of these lengths in seconds, cut from the clips one after the other, over and over."""
    rate = config.sample_rate
    wave = np.concatenate([at_rate(clip, rate) for clip in clips])
    wave = np.resize(wave, int(max(lengths) * rate))
    mel = np.ascontiguousarray(analyze(engine.plans.get(config), wave).T)
    recipe = resolve(config.power, octaves=config.octaves, quality=quality, harmonics=harmonics)
    items = []
    for seed, length in enumerate(lengths):
        part = mel[: config.frames(int(length * rate))]
        items.append(Item(part, config, recipe, config.samples(len(part)), seed))
    return items


def transforms_of(engine: Engine, items: Sequence[Item]) -> Work:
    """The two transforms of every iteration that the items' recipe runs, at its octave's size."""
    plan, schedule = engine.plans.get(items[0].config), items[0].recipe.schedule
    frames = sum(item.frames for item in items)
    floors = [
        two_transforms(octave.config, frames, stage.n_iter)
        for octave, stage in stages(plan, schedule)
    ]

    def run() -> None:
        for floor in floors:
            floor()

    return run


def iterations_table(engine: Engine, clips: Clips, names: Sequence[str], repeats: int) -> str:
    """Every config and pack: an iteration, its floor, and what the qualities take."""
    lines = [
        "| config | pack | ms an iteration | of its two transforms: draft | standard | "
        "harmonics, of without: draft | standard | RTF draft | standard | high |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        config = PRESETS[name].config
        for pack, lengths in PACKS.items():
            taken: dict[Quality, float] = {}
            ratios: dict[Quality, float] = {}
            combs: dict[Quality, float] = {}
            # High runs the same iterations, for minutes on a long pack: one clip will do.
            qualities: list[Quality] = ["draft", "standard", "high"]
            for quality in qualities[: 3 if len(lengths) == 1 and lengths[0] <= 10.0 else 2]:
                items = items_of(engine, config, clips, lengths, quality)
                works: list[Work] = [partial(engine.run, items)]
                if quality != "high":
                    plain = items_of(engine, config, clips, lengths, quality, harmonics="off")
                    works += [transforms_of(engine, items), partial(engine.run, plain)]
                turns = repeats if quality != "high" else 1
                taken[quality], *others = in_turns(works, turns)
                if others:
                    ratios[quality], combs[quality] = (taken[quality] / other for other in others)
            each = taken["standard"] / iterations(config.power, config.octaves, "standard")
            cells = [f"{1000 * each:.2f}"]
            cells += [f"{of[q]:.2f}" for of in (ratios, combs) for q in ("draft", "standard")]
            cells += [f"{taken[q] / sum(lengths):.4f}" if q in taken else "" for q in qualities]
            lines.append(f"| {name} | {pack} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def peers_table(engine: Engine, clips: Clips, repeats: int) -> str:
    """Whole pipelines side by side on the clips: real-time factor and PESQ."""
    config = PRESETS[PRESET].config
    waves = [at_rate(clip, config.sample_rate) for clip in clips]
    linear = [extract(config, wave).linear for wave in waves]
    length = sum(len(wave) for wave in waves) / config.sample_rate

    stored = [np.ascontiguousarray(extract(config, wave).values.T) for wave in waves]

    def ours(quality: Quality, k: int) -> Wave:
        recipe = resolve(config.power, octaves=config.octaves, quality=quality)
        item = Item(stored[k], config, recipe, config.samples(len(stored[k])))
        return np.asarray(engine.run([item])[0].values, np.float32)

    works: dict[str, Callable[[int], Wave]] = {}
    for quality in ("draft", "standard", "high"):
        works[f"Unmel, {quality}"] = partial(ours, quality)
    works["*librosa `mel_to_audio`, 32*"] = lambda k: librosa_audio(
        config, linear[k], PEER_ITERATIONS
    )
    if load_torchaudio() is not None:
        works["*torchaudio `InverseMelScale` + `GriffinLim`, 32*"] = lambda k: torchaudio_audio(
            config, linear[k], PEER_ITERATIONS
        )
    for work in works.values():
        work(0)  # what is loaded or compiled at the first call does not count
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in works}
    for k, wave in enumerate(waves):
        for name, work in works.items():
            began = time.process_time()
            result = work(k)
            found[name][0].append(time.process_time() - began)
            found[name][1].append(score(wave, result, config.sample_rate).pesq)
    lines = [f"| {PRESET}, {len(clips)} clips | RTF | PESQ-WB |", "|---|---|---|"]
    for name, (taken_, scores) in found.items():
        lines.append(f"| {name} | {sum(taken_) / length:.4f} | {np.mean(scores):.2f} |")
    return "\n".join([*lines, "", neural_table(engine, clips, repeats)])


def neural_table(engine: Engine, clips: Clips, repeats: int) -> str:
    """Beside Vocos's network, which takes no time for PESQ: its weights are not trained."""
    config = PRESETS[NEURAL_PRESET].config
    lengths = [10.0]
    names: list[Quality] = ["draft", "standard", "high"]
    packs = [items_of(engine, config, clips, lengths, quality) for quality in names]
    network = vocos_network(config, packs[0][0].frames)
    works = [partial(engine.run, pack) for pack in packs] + ([network] if network else [])
    taken = in_turns(works, repeats)
    rows = [f"Unmel, {name}" for name in names] + ["*Vocos's network, untrained*"]
    lines = [f"| {NEURAL_PRESET}, 10 s | RTF |", "|---|---|"]
    lines += [f"| {row} | {s / lengths[0]:.4f} |" for row, s in zip(rows, taken, strict=False)]
    if network is None:
        lines.append("\n`vocos` is not installed (`pip install --no-deps vocos`): not run.")
    return "\n".join(lines)


def start_table(repeats: int) -> str:
    """What a start takes, by the clock."""
    rows = [f"| {name} | {taken:.2f} |" for name, taken in start_up(repeats)]
    return "\n".join(["| start | s |", "|---|---|", *rows])


def put(page: Path, part: str, table: str) -> None:
    """Replace what stands between a part's marks in a page."""
    text = page.read_text()
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    head, found, rest = text.partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page} has no marks for {part}")
    page.write_text(f"{head}{begin}{table}\n{end}{tail}")


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of wav files")
    parser.add_argument("--clips", type=int, default=6, help="at most this many clips")
    parser.add_argument("--configs", default=CONFIGS, help="presets, with commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="iterations,loops,peers,lanes,start")
    parser.add_argument("--page", type=Path, help="a page with marks to write the tables to")
    options = parser.parse_args()
    clips, repeats = read_clips(options.data, options.clips), options.repeats
    torch.set_num_threads(1)
    engine = Engine()
    if LOOPS.wait() is None:
        raise SystemExit("the compiled loops did not load")
    parts: dict[str, Callable[[], str]] = {
        "iterations": lambda: iterations_table(engine, clips, options.configs.split(","), repeats),
        "loops": lambda: loops_table(PRESETS[PRESET].config, 10.0),
        "peers": lambda: peers_table(engine, clips, repeats),
        "lanes": lambda: lanes_table(
            engine,
            items_of(engine, PRESETS[PRESET].config, clips, [10.0], "standard"),
            2 * repeats + 1,
        ),
        "start": lambda: start_table(repeats),
    }
    for part in options.parts.split(","):
        table = parts[part]()
        print(f"\n{part}\n\n{table}", flush=True)
        if options.page:
            put(options.page, part, table)


if __name__ == "__main__":
    main()
