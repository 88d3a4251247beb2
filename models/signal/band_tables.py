"""Products with a filterbank in a fixed order, hence with the same bits everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Floats, Lists, Places, Tables

# The range of bins begins and ends at multiples of this, so that vector loops have no remainder.
_STEP = 16
# Where the bands hold this share of the bins the range is all bins, so that none has to be zeroed.
_NEARLY_ALL = 0.9
_NO_LISTS: Lists = (
    np.zeros(0, np.int32),
    np.zeros(0, np.int64),
    np.zeros(0, np.int32),
    np.zeros(0, np.float32),
)
# Terms that are summed at once; a bank with one wide band has thousands for each narrow one.
_MOST_TERMS = 2**22
# Rows of a matrix product on a CPU: of one size a row has the same bits wherever it stands.
_ROWS = 16


@dataclass(frozen=True, eq=False)
class Bands:
    """Sparse tables of a filterbank `F` `[K, N]` and of its scaled transpose `S` `[N, K]`.

    A band is a run of bins, and a bin lies in at most two bands, which are neighbours. A band is
    summed from its lowest bin to its highest, in compiled loops and in torch; the order of a
    matrix product is not specified. Bin numbers are relative to `first`, within the `W` bins that
    hold all the bands.
    """

    first: int
    """Number of the first of the `W` bins in the spectrum."""
    count: int
    """`W`."""
    begins: Places
    """Lowest bin of each band `[K]`."""
    offsets: Places
    """Beginning of each band's weights in `weights` `[K + 1]`."""
    weights: Floats
    """Entries of `F`, band after band."""
    below: NDArray[np.int32]
    """The lower one of each bin's two bands `[W]`; the other is the next band."""
    shares: Floats
    """Weights of each bin's two bands in `S` `[2, W]`."""
    _index: Tensor
    """The j-th bin of each band `[J, K]`, any bin where there is none."""
    _factor: Tensor
    """The weight of that bin `[J, K, 1]`, zero where there is none."""
    _below: Tensor
    _above: Tensor
    _shares: Tensor
    banded = True
    _dense: tuple[Tensor, Tensor] | None
    """`[W, K]` and `[K, W]` on a GPU, where sums in one order are slow and products fast."""

    @property
    def inside(self) -> slice:
        """The `W` bins in a spectrum of `N`."""
        return slice(self.first, self.first + self.count)

    @property
    def tables(self) -> Tables:
        """Tables for compiled loops: begins, offsets, weights, below, shares, and no lists."""
        return self.begins, self.offsets, self.weights, self.below, self.shares, _NO_LISTS

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        tensors = (self._index, self._factor, self._below, self._above, self._shares)
        dense = self._dense or ()
        return sum(t.nbytes for t in (*self.tables[:5], *tensors, *dense))

    def sums(self, values: Tensor) -> Tensor:
        """Mel of spectra, `F x`.

        Parameters
        ----------
        values
            Spectra `[T, W]`.

        Returns
        -------
        Tensor
            Band sums `[T, K]`.
        """
        if self._dense is not None:
            return values @ self._dense[0]
        width, bands = self._index.shape
        most = max(_MOST_TERMS // (width * bands), 1)
        if len(values) > most:
            return torch.cat([self.sums(part) for part in torch.split(values, most)])
        terms = values.t().contiguous().index_select(0, self._index.view(-1))
        terms = terms.view(width, bands, -1).mul_(self._factor)
        total = torch.zeros_like(terms[0])
        for term in terms:
            total.add_(term)
        return total.t().contiguous()

    def spread(self, values: Tensor) -> Tensor:
        """Band values spread over the bins, `S m`.

        Parameters
        ----------
        values
            Band values `[T, K]`.

        Returns
        -------
        Tensor
            Weighted means of each bin's bands `[T, W]`.
        """
        if self._dense is not None:
            return values @ self._dense[1]
        out = values.index_select(1, self._below).mul_(self._shares[0])
        return out.add_(values.index_select(1, self._above).mul_(self._shares[1]))


@dataclass(frozen=True, eq=False)
class DenseBands:
    """Products with a filterbank of any form, over the whole spectrum.

    For banks whose bands are no runs of bins that rise, or more than two of which hold a bin.
    """

    bank: Tensor
    """`F` transposed, `[N, K]`."""
    shares: Tensor
    """`S` transposed, `[K, N]`."""
    banded = False
    first = 0

    @cached_property
    def tables(self) -> Tables:
        """Tables for compiled loops.

        Of `Bands.tables` the offsets and weights; each bin is a band of its own. The lists are the
        bins of each weight, where each bin's entries in the last two begin `[N + 1]`, the bands
        that hold it, and their weights in `S`.
        """
        bank, shares = self.bank.t().cpu().numpy(), self.shares.t().cpu().numpy()
        bands, bins = np.nonzero(bank)
        holders, owners = np.nonzero(shares)
        return (
            np.zeros(len(bank), np.int64),
            _offsets(bands, len(bank)),
            bank[bands, bins].astype(np.float32),
            np.arange(self.count, dtype=np.int32),
            np.stack([np.ones(self.count, np.float32), np.zeros(self.count, np.float32)]),
            (
                bins.astype(np.int32),
                _offsets(holders, self.count),
                owners.astype(np.int32),
                shares[holders, owners].astype(np.float32),
            ),
        )

    @property
    def count(self) -> int:
        """`N`."""
        return len(self.bank)

    @property
    def inside(self) -> slice:
        """All bins."""
        return slice(0, self.count)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables, beside the plan's own matrices; as if there were no zeros."""
        return 16 * self.bank.numel()

    def sums(self, values: Tensor) -> Tensor:
        """Mel `[T, K]` of spectra `[T, N]`, `F x`."""
        return _product(values, self.bank)

    def spread(self, values: Tensor) -> Tensor:
        """Band values `[T, K]` spread over the bins `[T, N]`, `S m`."""
        return _product(values, self.shares)


def _offsets(sorted_places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Where the entries of each of `count` places begin, and the end of the last `[count + 1]`."""
    return np.searchsorted(sorted_places, np.arange(count + 1))


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows @ matrix`; on a CPU in blocks of one size, the last one filled up."""
    if rows.device.type != "cpu":
        return rows @ matrix
    count = len(rows)
    filled = torch.nn.functional.pad(rows, (0, 0, 0, -count % _ROWS))
    out = filled.new_empty(len(filled), matrix.shape[1])
    for first in range(0, len(filled), _ROWS):
        block = slice(first, first + _ROWS)
        torch.mm(filled[block], matrix, out=out[block])
    return out[:count]


def make_bands(
    bank: NDArray[np.float64],
    spread: NDArray[np.float64],
    device: torch.device,
    dtype: torch.dtype,
) -> Bands:
    """Sparse tables of a filterbank and of its scaled transpose.

    Parameters
    ----------
    bank
        Filterbank `F` `[K, N]`.
    spread
        Scaled transpose `S`, as `[K, N]`.
    device
        Device of the tensors among the tables.
    dtype
        Type of their floating-point values.
    """
    k, n_bins = bank.shape
    held = np.flatnonzero(bank.any(axis=0))
    first = int(held[0]) // _STEP * _STEP if held.size else 0
    end = int(held[-1]) + 1 if held.size else 1
    count = min(-(-end // _STEP) * _STEP, n_bins) - first
    if count >= _NEARLY_ALL * n_bins:
        first, count = 0, n_bins
    bank, spread = bank[:, first : first + count], spread[:, first : first + count]
    nonzero = bank > 0
    begins = nonzero.argmax(axis=1)
    widths = nonzero.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(widths)])
    weights = bank[nonzero]  # row by row, hence band after band
    below = nonzero.argmax(axis=0)
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
