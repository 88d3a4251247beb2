"""A GPU beside its own memory: how fast the bytes move that iterations have to move."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.prove import DEVICE_LOOPS
from unmel.models.methods.joint.octaves import stages
from unmel.models.signal.plan import Plan

Packs = Callable[[Engine, int], Sequence[Item]]
"""Items for an engine, of which so many make a pack."""

_CLIPS = (1, 8, 64)
_REPEATS = 5
COPIED = 2**30
"""Bytes of a copy, far more than a cache holds."""


def iteration_bytes(plan: Plan) -> int:
    """What an iteration reads and writes of a row, each array once by each of its loops and
    transforms: frames cut, transformed, looked at for their bands, mended, transformed back, added.
    """
    config, held, bands = plan.config, plan.bands.count, len(plan.alive)
    hop, frame, spectrum = 4 * config.hop_length, 4 * config.n_fft, 8 * config.n_bins
    cut = hop + frame
    transforms = 2 * (frame + spectrum)
    looked = 2 * 8 * held + 2 * 4 * bands
    mended = 3 * 8 * held + 4 * bands + spectrum
    added = 4 * config.win_length + 2 * hop
    return cut + transforms + looked + mended + added


def run_bytes(engine: Engine, items: Sequence[Item]) -> int:
    """What all iterations of the items' recipe move."""
    plan, schedule = engine.plans.get(items[0].config), items[0].recipe.schedule
    rows = sum(item.rows for item in items)
    return sum(rows * s.n_iter * iteration_bytes(octave) for octave, s in stages(plan, schedule))


def _seconds(work: Callable[[], object]) -> float:
    """By the clock, until the device has done it; the median."""
    taken = []
    for _ in range(_REPEATS + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))  # the first one's plans and allocations do not count


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy within the device."""
    here = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    return 2 * COPIED / _seconds(lambda: there.copy_(here))


def gpu_table(packs: Packs) -> str:
    """Packs of clips by compiled loops and by torch's."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device: not run."
    device = torch.device("cuda")
    engines = {"Triton": Engine(device), "torch": Engine(device, backend="torch")}
    if DEVICE_LOOPS.wait(device) is None:
        del engines["Triton"]
    bandwidth = copy_bandwidth(device)
    lines = [
        f"{torch.cuda.get_device_name(device)}, which copies {bandwidth / 1e9:.0f} GB/s.",
        "",
        "| loops | pack | s | seconds of audio a second | GB moved | of a copy's bandwidth |",
        "|---|---|---|---|---|---|",
    ]
    for name, engine in engines.items():
        for clips in _CLIPS:
            items = packs(engine, clips)
            taken, moved = _seconds(partial(engine.run, items)), run_bytes(engine, items)
            length = sum(item.samples / item.config.sample_rate for item in items)
            lines.append(
                f"| {name} | {clips} clips | {taken:.3f} | {length / taken:.0f} "
                f"| {moved / 1e9:.1f} | {moved / taken / bandwidth:.2f} |"
            )
    return "\n".join(lines)
