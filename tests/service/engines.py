"""Items, and an engine made for tests: it computes nothing, waits at a gate, fails on demand."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from unmel.models.engine.analysis import Analysis
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.work import Result, Work
from unmel.models.errors import OutOfMemory
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve

CONFIG = PRESETS["hifigan-22k"].config


def item(frames: int = 10, seed: int = 0, method: str | None = None) -> Item:
    """Zeros to be computed for one iteration; `method` is a phase method."""
    recipe = resolve(1, n_iter=1, phase=method)
    return Item(np.zeros((frames, 80), np.float32), CONFIG, recipe, 256, seed)


class TestEngine(Engine):
    """Answers with each item's seed as its samples; holds every call until the gate opens.

    `faults` are by seed: an exception is raised for any pack that holds the seed, a callable is
    called, anything else is the sample that it answers with. `room` is how many items the device
    has memory for.
    """

    __test__ = False  # not a case of pytest's

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.faults: dict[int, object] = {}
        self.room = 10**9
        self.freed = 0
        self.cold = 0.0
        """Seconds that making a plan takes; 0: it is there."""

    def run(self, items: Sequence[Work]) -> list[Result]:
        if isinstance(items[0], Analysis):  # these are computed, and wait for nothing
            return super().run(items)
        return self._pretend([one for one in items if isinstance(one, Item)])

    def _pretend(self, items: Sequence[Item]) -> list[Result]:
        seeds = [one.seed for one in items]
        self.calls.append(seeds)
        self.entered.release()
        self.gate.wait()
        if len(items) > self.room:
            raise OutOfMemory("no room")
        for seed in seeds:
            fault = self.faults.get(seed)
            if isinstance(fault, BaseException):
                raise fault
            if callable(fault):
                fault()
        return [self._result(one) for one in items]

    def _result(self, one: Item) -> Result:
        sample = self.faults.get(one.seed, float(one.seed))
        return Result(np.full(one.samples, sample if isinstance(sample, float) else one.seed, "f4"))

    def load(self) -> None:
        """It has no loops to wait for."""

    def preparation(self, _: MelConfig) -> float:
        return self.cold

    def free_memory(self) -> None:
        self.freed += 1


class Gated(TestEngine):
    """Computes, behind the gate."""

    def run(self, items: Sequence[Work]) -> list[Result]:
        self.calls.append([len(items)])
        self.entered.release()
        self.gate.wait()
        return Engine.run(self, items)
