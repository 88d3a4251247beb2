"""Search for a quality's schedule: CMA-ES on half of the clips, checked on the other half.

    python -m benchmarks.search --data DIR --preset hifigan-22k --quality draft --minutes 30

Starts from the current schedule. Clips are cut into short pieces: the iteration is chaotic, so a
score changes with the seed, and many short pieces give a better mean than few long ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cma
import numpy as np
from numpy.typing import NDArray
from pesq import NoUtterancesError

from benchmarks.bench import at_rate, read_clips
from benchmarks.peers import Wave, extract
from benchmarks.scores import score
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import preset
from unmel.models.methods.recipe import Recipe
from unmel.models.methods.schedule import Ramp, Schedule, qualities

PIECE_SECONDS = 2.4
# Scales of the search, in the order of `_numbers`.
_STEPS = np.array([0.1, 0.1, 0.15, 0.15, 0.1, 0.15, 0.2, 0.2, 0.1])


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of speech and its mel `[T, K]`."""

    wave: Wave
    mel: NDArray[np.float32]


def cut(clips: Sequence[tuple[Wave, int]], config: MelConfig) -> list[Piece]:
    """All whole pieces of all clips."""
    size = int(PIECE_SECONDS * config.sample_rate)
    pieces = []
    for clip in clips:
        wave = at_rate(clip, config.sample_rate)
        for first in range(0, len(wave) - size + 1, size):
            part = wave[first : first + size]
            pieces.append(Piece(part, np.ascontiguousarray(extract(config, part).values.T)))
    return pieces


def _numbers(schedule: Schedule) -> NDArray[np.float64]:
    ramps = (schedule.momentum, schedule.reflection, schedule.exponent, schedule.blend)
    return np.array([end for r in ramps for end in (r.first, r.last)] + [schedule.turn])


def _schedule(start: Schedule, numbers: Sequence[float]) -> Schedule:
    """The schedule of these numbers, with the iterations and octaves of `start`."""
    a = [float(x) for x in numbers]
    momentum, reflection, exponent, blend = (Ramp(a[i], a[i + 1]) for i in range(0, 8, 2))
    return replace(
        start,
        momentum=momentum,
        reflection=reflection,
        exponent=exponent,
        blend=blend,
        turn=min(max(a[8], 0.0), 1.0),
    )


def mean_pesq(
    engine: Engine, config: MelConfig, schedule: Schedule, pieces: Sequence[Piece], seed: int
) -> float:
    """Mean PESQ of the pieces with speech."""
    recipe = Recipe("consistent", None, schedule)
    items = [
        Item(p.mel, config, recipe, config.samples(len(p.mel)), seed + k)
        for k, p in enumerate(pieces)
    ]
    scores = []
    for piece, result in zip(pieces, engine.run(items), strict=True):
        try:
            scores.append(
                score(piece.wave, np.asarray(result.values, np.float32), config.sample_rate).pesq
            )
        except NoUtterancesError:
            continue
    return float(np.mean(scores))


def main() -> None:
    """Print the best schedule so far after every few generations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of wav files")
    parser.add_argument("--preset", default="hifigan-22k")
    parser.add_argument("--quality", default="draft", choices=("draft", "standard", "high"))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--pieces", type=int, default=16, help="pieces a generation")
    options = parser.parse_args()
    config, engine = preset(options.preset).config, Engine()
    clips = read_clips(options.data, None)
    tuned, kept_out = cut(clips[::2], config), cut(clips[1::2], config)
    start = qualities(config.power)[options.quality]
    strategy = cma.CMAEvolutionStrategy(np.zeros(len(_STEPS)), 0.6, {"popsize": 14, "verbose": -9})
    draw, began, generation = np.random.default_rng(0), time.monotonic(), 0

    def decode(x: NDArray[np.float64]) -> Schedule:
        return _schedule(start, _numbers(start) + x * _STEPS)

    def report(name: str, schedule: Schedule) -> None:
        value = mean_pesq(engine, config, schedule, kept_out, 10**6)
        print(f"{name}: kept out {value:.4f}  {np.round(_numbers(schedule), 3)}", flush=True)

    report("in use", start)
    while time.monotonic() - began < 60 * options.minutes:
        chosen = draw.choice(len(tuned), min(options.pieces, len(tuned)), replace=False)
        pieces, seed = [tuned[i] for i in chosen], int(draw.integers(10**6))
        candidates = strategy.ask()
        strategy.tell(
            candidates,
            [-mean_pesq(engine, config, decode(x), pieces, seed) for x in candidates],
        )
        generation += 1
        if generation % 8 == 0:
            report(f"generation {generation}", decode(np.asarray(strategy.mean)))


if __name__ == "__main__":
    main()
