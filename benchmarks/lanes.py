"""How lanes scale: threads of one process beside as many processes, alone and with neighbours."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from benchmarks.timing import at_once, neighbours
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item

_ENGINES: list[Engine] = []  # of a worker process


def _prepare(items: Sequence[Item]) -> None:
    LOOPS.wait()
    _ENGINES.append(Engine())
    _ENGINES[0].run(items)


def _run(items: Sequence[Item]) -> None:
    _ENGINES[0].run(items)


def lanes_table(engine: Engine, items: Sequence[Item], repeats: int) -> str:
    """As many packs at once as there are lanes, by a clock.

    Processes share nothing, neither memory nor an interpreter's lock, and lose to each other only
    what the machine takes: what lanes reach of their speed holds on a busy machine too.
    """
    cores = len(os.sched_getaffinity(0))
    length = sum(item.samples / item.config.sample_rate for item in items)
    cases = [(lanes, busy) for busy in (0, 1) for lanes in range(1, cores + 1)]
    threads: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    ratios: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, _prepare, (items,)) as pool:
        for future in [pool.submit(_run, items) for _ in range(4 * cores)]:
            future.result()
        for _ in range(repeats):
            for lanes, busy in cases:
                with neighbours(busy):
                    taken = at_once(partial(engine.run, items), lanes)
                    began = time.perf_counter()
                    for future in [pool.submit(_run, items) for _ in range(lanes)]:
                        future.result()
                    apart = time.perf_counter() - began
                threads[lanes, busy].append(taken)
                ratios[lanes, busy].append(apart / taken)
    alone = float(np.median(threads[1, 0]))
    lines = [
        f"| lanes, on {cores} cores | busy neighbours | seconds of audio a second | "
        "of a lane alone | of as many processes |",
        "|---|---|---|---|---|",
    ]
    for lanes, busy in cases:
        taken = float(np.median(threads[lanes, busy]))
        lines.append(
            f"| {lanes} | {busy} | {lanes * length / taken:.0f} | {lanes * alone / taken:.2f} "
            f"| {float(np.median(ratios[lanes, busy])):.2f} |"
        )
    return "\n".join(lines)
