"""Shared parts of the iterations: magnitudes imposed on a spectrum, and the mask of the clips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unmel.models.backends.base import TINY
from unmel.models.backends.reference import squared_magnitude
from unmel.models.signal.packed_stft import PackedStft

Update = Callable[[int, slice, Tensor], Tensor]
"""The next `C` of a block, from the iteration's number, the block and its `P(C)`."""


def impose(magnitude: Tensor, spectrum: Tensor) -> Tensor:
    """`P_A(t) = A t/|t|`, the nearest spectrum of that magnitude; zero where `t` is."""
    return spectrum * (magnitude * torch.rsqrt(squared_magnitude(spectrum) + TINY))


def clip_mask(pack: PackedStft) -> Tensor:
    """`[rows, 1]`: 1 in the rows of the clips, 0 between them, where a spectrum must be zero."""
    return pack.framed.unsqueeze(1).to(pack.plan.dtype)


def state(pack: PackedStft) -> Tensor:
    """A complex spectrum of zeros `[rows, N]` for an iteration to keep."""
    shape = pack.rows, pack.plan.config.n_bins
    return torch.zeros(shape, dtype=pack.complex_dtype, device=pack.plan.device)


def iterate(pack: PackedStft, step: Update, first: int, end: int) -> None:
    """Run iterations `first` to `end` of `C = step(P(C))` on a pack's signal."""
    for i in range(first, end):
        pack.begin()
        for block in pack.blocks():
            pack.add(block, step(i, block, pack.spectrum(block)))
        pack.finish()
