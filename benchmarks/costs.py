"""Is `Item.cost` what the time is? Each method's seconds for a unit of cost, by config.

    python -m benchmarks.costs [--seconds N]

Synthetic speech-like mels, one thread. The last column is a method's share of the middle one:
between a half and two the queue's estimates are good before anything was measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import resolve
from unmel.models.methods.start.starts import STARTS, check_start

NAMES = ("hifigan-22k", "whisper-80", "librosa", "fish-44k")


def requests() -> dict[str, Mapping[str, Any]]:
    """A few of each table's rows, and what changes their cost."""
    rows: dict[str, Mapping[str, Any]] = {
        f"{name}, {n}": {"method": name, "n_iter": n} for name in JOINT for n in (32, 160)
    }
    rows |= {
        f"{name} alone": {"inversion": name, "n_iter": 1, "output": "magnitude"}
        for name in INVERSIONS
    }
    rows |= {name: {"phase": name, "n_iter": 32} for name in PHASES}
    rows |= {
        f"{name} start": {"phase": "griffin_lim", "start": name, "n_iter": 8} for name in STARTS
    }
    rows["difference_map, beta 1"] = {
        "phase": "difference_map",
        "params": {"beta": 1.0},
        "n_iter": 32,
    }
    rows["rtisi_la, long look-ahead"] = {
        "phase": "rtisi_la",
        "params": {"lookahead": 15},
        "n_iter": 20,
    }
    rows["lbfgs, long memory"] = {"phase": "lbfgs", "params": {"history": 40}, "n_iter": 60}
    rows["lbfgs alone, long memory"] = {
        "inversion": "lbfgs",
        "inversion_params": {"memory": 20},
        "n_iter": 1,
        "output": "magnitude",
    }
    return rows


def mel_of(config: MelConfig, seconds: float) -> np.ndarray:
    """A mel `[T, K]` of gliding harmonics under a syllable's envelope, and of noise."""
    rate = config.sample_rate
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(130 + 30 * np.sin(5 * t)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 30))
    noise = np.random.default_rng(0).standard_normal(t.size)
    wave = (0.1 * wave + 0.01 * noise) * np.clip(np.sin(13 * t) + 0.7, 0, 1)
    values = analyze(Engine().plans.get(config), wave.astype(np.float32))
    return np.ascontiguousarray(values.T.astype(np.float32))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of audio")
    options = parser.parse_args()
    engine = Engine()
    print("| preset | method | cost, million | s | s a billion | share of the middle |")
    print("|---|---|---|---|---|---|")
    for preset in NAMES:
        config = PRESETS[preset].config
        mel = mel_of(config, options.seconds)
        found = []
        for name, given in requests().items():
            asked = dict(given)
            output = asked.pop("output", "audio")
            try:
                check_start(asked.get("start", "random"), config)
            except Invalid:
                continue
            recipe = resolve(config.power, octaves=config.octaves, **asked)
            item = Item(mel, config, recipe, config.samples(len(mel)), 0, output)
            engine.run([item])
            times = []
            for _ in range(3):
                began = time.thread_time()
                engine.run([item])
                times.append(time.thread_time() - began)
            found.append((name, item.cost, min(times)))
        middle = float(np.median([seconds / cost for _, cost, seconds in found]))
        for name, cost, seconds in found:
            print(
                f"| {preset} | {name} | {cost / 1e6:.1f} | {seconds:.3f} "
                f"| {1e9 * seconds / cost:.1f} | {seconds / cost / middle:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
