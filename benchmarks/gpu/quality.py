"""PESQ of the card's audio beside the CPU's; scored here or, from what was kept, elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.gpu.check import CONFIG, Check, table
from benchmarks.scores import score
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import Quality

_QUALITIES: tuple[Quality, ...] = "draft", "standard", "high"
_CLIPS, _SECONDS = 8, 4.0


def _items(check: Check, quality: Quality) -> tuple[list[Item], list[NDArray[np.float32]]]:
    length = int((0.3 if check.small else _SECONDS) * CONFIG.sample_rate)
    waves = [w[:length] for w in check.waves(1 if check.small else _CLIPS)]
    plan, made = Engine(backend="torch").plans.get(CONFIG), []
    n_iter = 2 if check.small else None
    recipe = resolve(CONFIG.power, octaves=CONFIG.octaves, quality=quality, n_iter=n_iter)
    for seed, wave in enumerate(waves):
        mel = np.ascontiguousarray(analyze(plan, wave).T)
        made.append(Item(mel, CONFIG, recipe, len(wave), seed))
    return made, waves


def quality(check: Check) -> None:
    """Keep the card's audio in `out`, and say what scores it."""
    engine = Engine(check.device)
    check.out.mkdir(parents=True, exist_ok=True)
    for name in _QUALITIES:
        items, _ = _items(check, name)
        kept = np.concatenate([result.values for result in engine.run(items)])
        soundfile.write(check.out / f"{name}.flac", kept, CONFIG.sample_rate, subtype="PCM_24")
    print(f"audio kept: python -m benchmarks.gpu --score {check.out} --data {check.data}")


def scored(check: Check, folder: Path) -> None:
    """PESQ of the audio that a card has left in a folder, beside this CPU's."""
    cpu = Engine()

    def rows() -> Iterator[str]:
        for name in _QUALITIES:
            items, waves = _items(check, name)
            theirs, rate = soundfile.read(folder / f"{name}.flac", dtype="float32")
            found, at = [], 0
            for item, wave, result in zip(items, waves, cpu.run(items), strict=True):
                pair = theirs[at : at + item.samples], np.asarray(result.values, np.float32)
                at += item.samples
                found.append([score(wave, x, rate).pesq for x in pair])
            there, here = np.mean(found, axis=0)
            yield f"| {name} | {there:.3f} | {here:.3f} | {there - here:+.3f} |"

    table("| quality | PESQ-WB on the card | on a CPU | difference |", rows())
