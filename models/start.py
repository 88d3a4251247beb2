"""Where an iteration starts: each clip's first phases, from its seed alone."""

from __future__ import annotations

import torch
from torch import Tensor

from models.stft import PackedStft


def random_phases(pack: PackedStft, seeds: list[int], turn: float = 1.0) -> Tensor:
    """Phases `[rows, N]` in radians, uniform on `turn` of the circle, drawn clip by clip.

    They are drawn on the CPU, so that a seed means the same on every device.
    """
    n_bins = pack.plan.config.n_bins
    parts = []
    for (frames, _), seed in zip(pack.clips, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        parts.append(torch.rand(frames, n_bins, generator=generator))
    phases = pack.spread_rows([part.to(pack.plan.dtype) for part in parts])
    return phases.mul_(2.0 * torch.pi * turn)


def synthesize(pack: PackedStft, magnitude: Tensor, phases: Tensor) -> None:
    """Make the inverse STFT of `magnitude` and `phases` `[rows, N]` the pack's signal."""
    pack.begin()
    for block in pack.blocks():
        pack.add(block, torch.polar(magnitude[block], phases[block]))
    pack.finish()
