"""Bytes that iterations have to move, and how fast a card copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.gpu.check import Check
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.methods.joint.octaves import stages
from unmel.models.signal.plan import Plan

_COPIED, _COPIED_SMALL = 2**31, 2**16
"""Bytes of a copy, far more than a cache holds."""


def iteration_bytes(plan: Plan) -> int:
    """What an iteration reads and writes of a row, each array once by each of its kernels and
    transforms: frames cut, transformed, corrected, transformed back, added.
    """
    config, held, bands = plan.config, plan.bands.count, len(plan.alive)
    hop, frame, spectrum = 4 * config.hop_length, 4 * config.n_fft, 8 * config.n_bins
    cut = hop + frame
    transforms = 2 * (frame + spectrum)
    corrected = 3 * 8 * held + 4 * bands + bands + spectrum
    added = 4 * config.win_length + 2 * hop
    return cut + transforms + corrected + added


def run_bytes(engine: Engine, items: Sequence[Item]) -> int:
    """What all iterations of the items' recipe move."""
    plan, schedule = engine.plans.get(items[0].config), items[0].recipe.schedule
    rows = sum(item.rows for item in items)
    return sum(rows * s.n_iter * iteration_bytes(octave) for octave, s in stages(plan, schedule))


def copy_bandwidth(check: Check) -> float:
    """Bytes a second, read and written, of a copy within the device."""
    count = _COPIED_SMALL if check.small else _COPIED
    here = torch.zeros(count, dtype=torch.uint8, device=check.device).bernoulli_()
    there = torch.empty_like(here)
    return 2 * count / check.seconds(lambda: there.copy_(here))
