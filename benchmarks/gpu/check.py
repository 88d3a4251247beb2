"""What every part of the check is given: the device, the sizes, items and a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bench import at_rate, read_clips
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import Quality

PRESET = "hifigan-22k"
CONFIG = PRESETS[PRESET].config
PACK_BYTES = 32 * 2**30
_REPEATS = 5


@dataclass(frozen=True)
class Check:
    """A run of the check.

    With `small` every part does a thousandth of its work, to find its own faults on a machine
    without a card.
    """

    device: torch.device
    data: Path
    out: Path
    small: bool = False

    @property
    def repeats(self) -> int:
        return 1 if self.small else _REPEATS

    def wait(self) -> None:
        """Until the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object]) -> float:
        """Median by the clock, until the device has done it."""
        taken = []
        for _ in range(self.repeats + 1):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - began)
        return float(np.median(taken[1:]))  # the first one's plans and allocations do not count

    def waves(self, count: int, config: MelConfig = CONFIG) -> list[NDArray[np.float32]]:
        """Clips of the folder at a config's rate, as many as asked for."""
        found = [at_rate(clip, config.sample_rate) for clip in read_clips(self.data, count)]
        return [found[k % len(found)] for k in range(count)]

    def items(
        self,
        count: int,
        seconds: float = 10.0,
        quality: Quality = "standard",
        config: MelConfig = CONFIG,
        n_iter: int | None = None,
    ) -> list[Item]:
        """Clips of one length, the folder's own repeated, each with a seed of its own."""
        if self.small:
            seconds, n_iter = 0.1 * seconds**0.5, 4 if n_iter is None else n_iter
        plan = Engine(backend="torch").plans.get(config)
        length, made = int(seconds * config.sample_rate), []
        waves = self.waves(min(count, 8), config)
        mels = [np.ascontiguousarray(analyze(plan, np.resize(w, length)).T) for w in waves]
        recipe = resolve(config.power, octaves=config.octaves, quality=quality, n_iter=n_iter)
        for seed in range(count):
            mel = mels[seed % len(mels)]
            made.append(Item(mel, config, recipe, config.samples(len(mel)), seed))
        return made


def table(head: str, rows: Iterable[str]) -> None:
    """Print a Markdown table, each row as soon as it is known."""
    print("\n".join([head, "|---" * (head.count("|") - 1) + "|"]), flush=True)
    for row in rows:
        print(row, flush=True)
