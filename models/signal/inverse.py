"""The non-negative inverse of a filterbank: a matrix found once, by optimisation.

The founding thread's idea (nnAudio issue 57): a request then costs one product, as with the
transpose, and nothing needs to be clipped, as with the pseudo-inverse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The spectra that the inverse is made for: level plus deviations, correlated over some bands
# (formants) and free from bin to bin (harmonics). Found on speech, HiFi-GAN's and librosa's banks.
_DEVIATION = 1.0
_BANDS_CORRELATED = 3.0
_FINE = 0.05
_STEPS = 150


def non_negative_inverse(bank: Array) -> Array:
    """`G` `[K, N]` of bank `F` `[K, N]`, never negative: `M @ G` is a spectrum of mel `M` `[T, K]`.

    With bands scaled to `A = F / F1`, `H` the inverse sought `[N, K]` and `x` random spectra of
    `C = E[x x^T] = 1 + exp(-d/3) + 0.05 I` at distances of `d` bands, it minimises

        E |x - H A x|^2 + (N / K) E |A x - A H A x|^2

    the error of the spectrum and that of its mel, over all `H >= 0` that give a bin only what
    the bands that it feeds hold. In closed form the gradient is a difference of two non-negative
    matrices, `(1 + c A^T A) H Q - (1 + c A^T A) C A^T` with `Q = A C A^T`, and each step multiplies
    by their ratio (Lee and Seung 2001): the error falls and no entry changes its sign.
    A bin feeds two bands at most, neighbours, so that a step costs a few operations a bin.
    """
    inverse = np.zeros_like(bank)
    weight = bank.sum(axis=1)
    alive = np.flatnonzero(weight > 0)
    bins = np.flatnonzero(bank.sum(axis=0) > 0)
    if alive.size == 0:
        return inverse
    scaled = (bank[alive] / weight[alive, None])[:, bins]
    cross = _cross(scaled)
    count = len(alive)
    mel_weight = len(bins) / count

    # Each bin's two bands and what it gives them; a bin of one band has a second of nothing.
    first = (scaled > 0).argmax(axis=0)
    bands = np.minimum(np.stack([first, first + 1]), count - 1)
    given = np.take_along_axis(scaled, bands, axis=0) * (bands >= [[0], [1]])
    given[1, first + 1 >= count] = 0.0
    square = scaled @ cross
    offsets = np.arange(-1, 2, dtype=np.int64)
    around = np.clip(np.arange(count, dtype=np.int64)[:, None] + offsets, 0, count - 1)
    near = square[around[:, :, None], around[:, None, :]]
    own = square[bands[:, None], bands[None, :]]
    wanted = np.take_along_axis(cross.T, bands, axis=0)
    wanted = wanted + mel_weight * _back(given, _by_offset(square, around), bands)

    raw = np.take_along_axis(bank[alive][:, bins], bands, axis=0) * (given > 0)
    found = raw / raw.sum(axis=0)
    for _ in range(_STEPS):
        again = np.einsum("kd,kde->ke", _forward(given, found, bands, count), near)
        reached = (found[:, None] * own).sum(axis=0) + mel_weight * _back(given, again, bands)
        found *= wanted / reached
    for band, values in zip(bands, found, strict=True):
        inverse[alive[band], bins] += values / weight[alive[band]]
    return inverse


def _cross(scaled: Array) -> Array:
    """`C A^T` `[N, K]`, a band at a time: `C` `[N, N]` would not fit for the largest banks."""
    n_bins = scaled.shape[1]
    centres = scaled @ np.arange(n_bins)
    place = np.interp(np.arange(n_bins), centres, np.arange(len(scaled)))
    cross = 1.0 + _FINE * scaled.T
    for k, row in enumerate(scaled):
        feeds = np.flatnonzero(row)
        distance = np.abs(place[:, None] - place[feeds])
        cross[:, k] += _DEVIATION * (np.exp(-distance / _BANDS_CORRELATED) @ row[feeds])
    return cross


def _by_offset(square: Array, around: NDArray[np.int64]) -> Array:
    """The diagonals -1, 0 and 1 of a matrix, `[K, 3]`."""
    values: Array = np.take_along_axis(square, around, axis=1)
    return values


def _forward(given: Array, found: Array, bands: NDArray[np.int64], count: int) -> Array:
    """The diagonals `[K, 3]` of `A H`, which has no others."""
    out = np.zeros(count * 3)
    for i in range(2):
        for j in range(2):
            out += np.bincount(bands[i] * 3 + 1 + j - i, given[i] * found[j], minlength=count * 3)
    return out.reshape(count, 3)


def _back(given: Array, diagonals: Array, bands: NDArray[np.int64]) -> Array:
    """`A^T X` where `H` may be other than zero, `[2, N]`, from the diagonals of `X`."""
    return np.stack(
        [
            given[0] * diagonals[bands[0], 1 + j] + given[1] * diagonals[bands[1], j]
            for j in range(2)
        ]
    )
