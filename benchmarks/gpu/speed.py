"""Packs by size and quality: time, share of a copy's bandwidth, memory; two of them in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch

from benchmarks.gpu.check import PACK_BYTES, Check, table
from benchmarks.gpu.moved import copy_bandwidth, run_bytes
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.memory import countable
from unmel.models.methods.schedule import Quality

_PACKS = 1, 8, 64, 256
_QUALITIES: tuple[Quality, ...] = "draft", "standard"
_TURNS = 6


def together(check: Check, engine: Engine, items: Sequence[Item], lanes: int) -> float:
    """Seconds a pack when as many threads as lanes each run packs one after the other."""
    turns = 2 if check.small else _TURNS

    def work() -> None:
        for _ in range(turns):
            engine.run(items)

    threads = [threading.Thread(target=work) for _ in range(lanes)]
    check.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check.wait()
    return (time.perf_counter() - began) / (turns * lanes)


def speed(check: Check) -> None:
    """Clips of 10 s in packs, by one lane and by two."""
    engine = Engine(check.device, pack_bytes=PACK_BYTES)
    bandwidth = copy_bandwidth(check)
    packs = _PACKS[:2] if check.small else _PACKS

    def rows() -> Iterator[str]:
        for quality, count in product(_QUALITIES, packs):
            items = check.items(count, quality=quality)
            audio = sum(item.audio_seconds for item in items)
            engine.run(items[:1])  # the plan, which is no pack's
            idle = _peak(check, anew=True)
            alone = check.seconds(partial(engine.run, items))
            peak = _peak(check) - idle
            expected = sum(item.nbytes for item in items) / countable(1000, check.device) * 1000
            together(check, engine, items, 2)
            two = together(check, engine, items, 2)
            share = run_bytes(engine, items) / bandwidth
            yield (
                f"| {quality} | {count} | {1000 * alone:.1f} | {audio / alone:,.0f} "
                f"| {share / alone:.2f} | {1000 * two:.1f} | {audio / two:,.0f} "
                f"| {share / two:.2f} | {peak / 2**20:,.0f} | {peak / expected:.2f} |"
            )
            engine.free_memory()

    table(
        "| quality | clips of 10 s | ms | x real time | of a copy's bandwidth "
        "| two lanes: ms a pack | x real time | of a copy's bandwidth | a pack's MiB "
        "| of what UNMEL_PACK_MB counts |",
        rows(),
    )


def _peak(check: Check, *, anew: bool = False) -> int:
    """Most bytes of the device since it was asked anew."""
    if check.device.type != "cuda":
        return 0
    if anew:
        torch.cuda.reset_peak_memory_stats(check.device)
    return torch.cuda.max_memory_allocated(check.device)
