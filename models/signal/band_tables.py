"""Sparse products with a filterbank in one fixed order: the same bits wherever they are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Tables

# Rows of bins begin and end at multiples of this, so that vector loops have no rest.
_STEP = 16
# Where the bands hold this share of the bins all are taken: rows without a gap between them are one
# loop for several rows.
_NEARLY_ALL = 0.9


@dataclass(frozen=True, eq=False)
class Bands:
    """Where the triangles of a bank `F` `[K, N]` lie, and what they weigh.

    A band is a run of bins and a bin lies in two bands at most, neighbours: that is what
    triangles on increasing edges are. A band's sum is taken from its lowest bin to its highest,
    by compiled loops and by torch alike; a matrix product's order is nobody's promise. Bins count
    here from `first`, the lowest of those `[W]` that hold all the bands.
    """

    first: int
    count: int
    """`W`."""
    begins: NDArray[np.int64]
    """`[K]`: each band's lowest bin."""
    offsets: NDArray[np.int64]
    """`[K + 1]`: where each band's weights begin in `weights`."""
    weights: NDArray[np.float32]
    below: NDArray[np.int32]
    """`[W]`: the lower of a bin's two bands; the other is the next one."""
    shares: NDArray[np.float32]
    """`[2, W]`: the weights with which a bin takes the values of its two bands."""
    _index: Tensor
    """`[J, K]`: the j-th bin of each band, any bin where it has fewer."""
    _factor: Tensor
    """`[J, K, 1]`: its weight, zero where there is none."""
    _below: Tensor
    _above: Tensor
    _shares: Tensor
    _dense: tuple[Tensor, Tensor] | None
    """`[W, K]` and `[K, W]` on a GPU, where sums in one order are slow and products fast."""

    @property
    def inside(self) -> slice:
        """The bins `[W]` among the spectrum's `[N]`."""
        return slice(self.first, self.first + self.count)

    @property
    def tables(self) -> Tables:
        """What compiled loops look up: begins, offsets, weights, below and shares."""
        return self.begins, self.offsets, self.weights, self.below, self.shares

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        twins: tuple[Tensor, ...] = (
            self._index,
            self._factor,
            self._below,
            self._above,
            self._shares,
        )
        twins += self._dense or ()
        return sum(a.nbytes for a in self.tables) + sum(t.numel() * t.element_size() for t in twins)

    def sums(self, values: Tensor) -> Tensor:
        """`F values`: `[T, W]` to `[T, K]`."""
        if self._dense is not None:
            return values @ self._dense[0]
        width, bands = self._index.shape
        terms = values.t().contiguous().index_select(0, self._index.view(-1))
        terms = terms.view(width, bands, -1).mul_(self._factor)
        total = torch.zeros_like(terms[0])
        for term in terms:
            total.add_(term)
        return total.t().contiguous()

    def spread(self, values: Tensor) -> Tensor:
        """`S values`: `[T, K]` to `[T, W]`."""
        if self._dense is not None:
            return values @ self._dense[1]
        out = values.index_select(1, self._below).mul_(self._shares[0])
        return out.add_(values.index_select(1, self._above).mul_(self._shares[1]))


def make_bands(
    bank: NDArray[np.float64],
    spread: NDArray[np.float64],
    device: torch.device,
    dtype: torch.dtype,
) -> Bands:
    """Tables of a bank `F` `[K, N]` and of its spreading transpose, given as `[K, N]` too."""
    k, n_bins = bank.shape
    held = np.flatnonzero(bank.any(axis=0))
    first = int(held[0]) // _STEP * _STEP if held.size else 0
    last = int(held[-1]) + 1 if held.size else 1
    count = min(-(-last // _STEP) * _STEP, n_bins) - first
    if count >= _NEARLY_ALL * n_bins:
        first, count = 0, n_bins
    bank, spread = bank[:, first : first + count], spread[:, first : first + count]
    fed = bank > 0
    begins = np.where(fed.any(axis=1), fed.argmax(axis=1), 0)
    widths = fed.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(widths)])
    # Row by row, which is the bands' order.
    weights = bank[fed]
    below = np.where(fed.any(axis=0), fed.argmax(axis=0), 0)
    above = np.minimum(below + 1, k - 1)
    column = np.arange(count)
    shares = np.stack([spread[below, column], spread[above, column] * (above > below)])

    steps = np.arange(max(int(widths.max()), 1))[:, None]
    index = np.minimum(begins + steps, count - 1)
    factor = np.where(steps < widths, bank[np.arange(k), index], 0.0)

    def put(values: NDArray[np.float64] | NDArray[np.int64]) -> Tensor:
        kept = dtype if values.dtype == np.float64 else None
        return torch.as_tensor(np.ascontiguousarray(values), dtype=kept, device=device)

    return Bands(
        first=first,
        count=count,
        begins=begins.astype(np.int64),
        offsets=offsets.astype(np.int64),
        weights=weights.astype(np.float32),
        below=below.astype(np.int32),
        shares=shares.astype(np.float32),
        _index=put(index),
        _factor=put(factor[:, :, None]),
        _below=put(below),
        _above=put(above),
        _shares=put(shares),
        _dense=None if device.type == "cpu" else (put(bank.T), put(spread)),
    )
