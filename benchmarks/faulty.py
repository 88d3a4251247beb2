"""`python -m benchmarks.faulty`: the service around an engine that fails when a seed says so."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.work import Result, Work
from unmel.models.errors import OutOfMemory
from unmel.service.__main__ import main

HANG_SECONDS = 12.0
"""Longer than a lane is waited for with the settings of the soak."""


def _fail() -> None:
    raise RuntimeError("injected")


def _lack_memory() -> None:
    raise OutOfMemory("injected")


def _die() -> None:
    sys.exit(1)  # ends the thread that it is called on: the lane


def _hang() -> None:
    time.sleep(HANG_SECONDS)


def _nothing() -> None: ...


FAULTS: dict[int, tuple[str, int, Callable[[], None]]] = {
    1: ("fail", 500, _fail),
    2: ("no memory", 503, _lack_memory),
    3: ("not finite", 422, _nothing),
    4: ("die", 503, _die),
    5: ("hang", 503, _hang),
}
"""By the seed: what it is called, what its own request is answered, what is done."""

NOT_FINITE = 3


class FaultyEngine(Engine):
    """An engine that does to a pack what the seeds of its items say; streams' steps have none."""

    def run(self, items: Sequence[Work]) -> list[Result]:
        seeds = [item.seed if isinstance(item, Item) else 0 for item in items]
        for seed in seeds:
            if seed in FAULTS:
                FAULTS[seed][2]()
        results = super().run(items)
        return [
            Result(np.full_like(result.values, np.nan)) if seed == NOT_FINITE else result
            for seed, result in zip(seeds, results, strict=True)
        ]


if __name__ == "__main__":
    sys.exit(main(FaultyEngine))
