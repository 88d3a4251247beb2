"""The mel step of `consistent`, eight rows and eight bins at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import (
    LARGEST_RATIO,
    TINY,
    BandTables,
    Floats,
    Lists,
    Places,
    StepCoefficients,
    Tables,
)
from unmel.models.backends.cpu.elementwise import raise_eights
from unmel.models.backends.cpu.loop import loop
from unmel.models.backends.cpu.vectors import (
    fill,
    fused,
    inverse_root,
    larger,
    load,
    pair_sums,
    smaller,
    store,
    transposed,
    twice,
    where_negative,
)

GROUP = 8
"""Rows, and bins of a row, that the loops take at once."""

LISTS = "Tuple((i4[::1], i8[::1], i4[::1], f4[::1]))"
"""The type of `Lists`."""

_TINY, _LARGEST_RATIO = np.float32(TINY), np.float32(LARGEST_RATIO)
_SMALLEST = np.float32(1e-36)  # whose inverse root is far from the largest number
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


@loop()
def _relaxed(  # a row's eight bins, real and imaginary parts in turn
    parts: Floats, here: int, pasts: Floats, past: int, quotients: Floats, at: int, numbers: Any
) -> Any:
    """`Q` of eight bins of a row in the order `PAIRS`; `Q / |t|` is kept."""
    relaxation, blend, rest = numbers
    re_im, more = load(parts, here), load(parts, here + 8)
    to = fused(relaxation, re_im, -load(pasts, past))
    to_more = fused(relaxation, more, -load(pasts, past + 8))
    square = pair_sums(re_im * re_im, more * more)
    length = pair_sums(to * to, to_more * to_more) + fill(_TINY)
    shrink = inverse_root(length)
    # A square of zero has a root of zero.
    level = square * inverse_root(square + fill(_SMALLEST))
    level = larger(fused(blend, level, rest * (length * shrink)), fill(_ZERO))
    store(quotients, at, level * shrink)
    return level


@loop()
def _levels(
    parts: Floats,
    pitch: int,
    pasts: Floats,
    past_pitch: int,
    step: Floats,
    squared: bool,
    level: Floats,
    quotients: Floats,
    chunks: int,
) -> None:
    """`Q` of a group, or its square, by columns, and `Q / |t|` by rows of each eight bins."""
    numbers = fill(step[0]), fill(step[1]), fill(step[2])
    for n in range(chunks):
        h, p, q = 16 * n, 16 * n, 64 * n
        rows = (
            _relaxed(parts, h, pasts, p, quotients, q, numbers),
            _relaxed(parts, h + pitch, pasts, p + past_pitch, quotients, q + 8, numbers),
            _relaxed(parts, h + 2 * pitch, pasts, p + 2 * past_pitch, quotients, q + 16, numbers),
            _relaxed(parts, h + 3 * pitch, pasts, p + 3 * past_pitch, quotients, q + 24, numbers),
            _relaxed(parts, h + 4 * pitch, pasts, p + 4 * past_pitch, quotients, q + 32, numbers),
            _relaxed(parts, h + 5 * pitch, pasts, p + 5 * past_pitch, quotients, q + 40, numbers),
            _relaxed(parts, h + 6 * pitch, pasts, p + 6 * past_pitch, quotients, q + 48, numbers),
            _relaxed(parts, h + 7 * pitch, pasts, p + 7 * past_pitch, quotients, q + 56, numbers),
        )
        a, b, e, f, c, d, g, h_ = transposed(rows)  # the order `PAIRS`
        if squared:
            a, b, c, d, e, f, g, h_ = a * a, b * b, c * c, d * d, e * e, f * f, g * g, h_ * h_
        store(level, q, a)
        store(level, q + 8, b)
        store(level, q + 16, c)
        store(level, q + 24, d)
        store(level, q + 32, e)
        store(level, q + 40, f)
        store(level, q + 48, g)
        store(level, q + 56, h_)


@loop()
def _band_sums(
    level: Floats, begins: Places, offsets: Places, weights: Floats, sums: Floats
) -> None:
    """`Bands.sums` of a group, both of them by columns: even and odd bins, then both."""
    for k in range(begins.shape[0]):
        even = odd = fill(_ZERO)
        n, m, end = 8 * begins[k], offsets[k], offsets[k + 1]
        while m + 1 < end:
            even = fused(fill(weights[np.uint64(m)]), load(level, n), even)
            odd = fused(fill(weights[np.uint64(m + 1)]), load(level, n + 8), odd)
            m += 2
            n += 16
        if m < end:
            even = fused(fill(weights[np.uint64(m)]), load(level, n), even)
        store(sums, 8 * k, even + odd)


@loop()
def _listed_sums(
    level: Floats, bins: NDArray[np.int32], offsets: Places, weights: Floats, sums: Floats
) -> None:
    """`_band_sums` of bands of any bins: every fourth one, then the four sums."""
    for k in range(offsets.shape[0] - 1):
        a = b = c = d = fill(_ZERO)
        m, end = offsets[k], offsets[k + 1]
        while m + 3 < end:
            at = np.uint64(m)
            a = fused(fill(weights[at]), load(level, 8 * np.int64(bins[at])), a)
            at += np.uint64(1)
            b = fused(fill(weights[at]), load(level, 8 * np.int64(bins[at])), b)
            at += np.uint64(1)
            c = fused(fill(weights[at]), load(level, 8 * np.int64(bins[at])), c)
            at += np.uint64(1)
            d = fused(fill(weights[at]), load(level, 8 * np.int64(bins[at])), d)
            m += 4
        while m < end:
            at = np.uint64(m)
            a = fused(fill(weights[at]), load(level, 8 * np.int64(bins[at])), a)
            m += 1
        store(sums, 8 * k, (a + b) + (c + d))


@loop()
def _ratios(values: Floats, mel: Floats, exponent: float) -> None:
    """The factors of a group's bands, from their sums; bounds are negative."""
    one, most = fill(_ONE), fill(_LARGEST_RATIO)
    for k in range(0, mel.shape[0], 8):
        target = load(mel, k)
        ratio = larger(target, -target) / (load(values, k) + fill(_TINY))
        store(values, k, smaller(ratio, where_negative(target, one, most)))
    if exponent == _ONE:
        return
    raise_eights(values[: mel.shape[0]], exponent)
    for k in range(0, mel.shape[0], 8):
        target = load(mel, k)
        store(values, k, where_negative(-larger(target, -target), load(values, k), fill(_ZERO)))


@loop()
def _gain(ratio: Floats, below: NDArray[np.int32], low: Floats, high: Floats, n: int) -> Any:
    """`Bands.spread` of a bin of a group.

    Above the last band the array is read one band further, with a weight of zero.
    """
    at, k = np.uint64(n), 8 * np.int64(below[np.uint64(n)])
    return fused(fill(low[at]), load(ratio, k), fill(high[at]) * load(ratio, k + 8))


@loop()
def _correct(
    parts: Floats,
    here: int,
    pasts: Floats,
    past: int,
    factor: Any,
    numbers: Any,
) -> None:
    """The next `C` of eight bins of a row, and their momentum."""
    relaxation, keep, reflect = numbers
    factor, factor_more = twice(factor)
    re_im, more = load(parts, here), load(parts, here + 8)
    to = fused(relaxation, re_im, -load(pasts, past)) * factor
    to_more = fused(relaxation, more, -load(pasts, past + 8)) * factor_more
    store(parts, here, to)
    store(parts, here + 8, to_more)
    store(pasts, past, fused(keep, re_im, reflect * to))
    store(pasts, past + 8, fused(keep, more, reflect * to_more))


@loop()
def _correct_group(
    parts: Floats,
    pitch: int,
    pasts: Floats,
    past_pitch: int,
    step: Floats,
    ratio: Floats,
    below: NDArray[np.int32],
    shares: Floats,
    quotients: Floats,
    chunks: int,
) -> None:
    """A group's next `C` and momentum, from the ratios of its bands."""
    numbers = fill(step[0]), fill(step[4]), fill(step[5])
    low, high = shares[0], shares[1]
    for n in range(chunks):
        m = 8 * n
        columns = (
            _gain(ratio, below, low, high, m),
            _gain(ratio, below, low, high, m + 1),
            _gain(ratio, below, low, high, m + 4),
            _gain(ratio, below, low, high, m + 5),
            _gain(ratio, below, low, high, m + 2),
            _gain(ratio, below, low, high, m + 3),
            _gain(ratio, below, low, high, m + 6),
            _gain(ratio, below, low, high, m + 7),
        )
        a, b, c, d, e, f, g, h = transposed(columns)
        q, here, past = 64 * n, 16 * n, 16 * n
        _correct(parts, here, pasts, past, a * load(quotients, q), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, b * load(quotients, q + 8), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, c * load(quotients, q + 16), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, d * load(quotients, q + 24), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, e * load(quotients, q + 32), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, f * load(quotients, q + 40), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, g * load(quotients, q + 48), numbers)
        here, past = here + pitch, past + past_pitch
        _correct(parts, here, pasts, past, h * load(quotients, q + 56), numbers)


@loop("void(f4[:, ::1], i4[::1], f4[:, ::1], f4[:, ::1], i8)")
def spread(
    values: Floats, below: NDArray[np.int32], shares: Floats, out: Floats, first: int
) -> None:
    """`Bands.spread` from bin `first` of `out` `[T, N]` on, and zero in its other bins."""
    bands, count, width = values.shape[1], below.shape[0], out.shape[1]
    low, high = shares[0], shares[1]
    flat, wide = values.reshape(values.size), out.reshape(out.size)
    for row in range(out.shape[0]):
        own = flat[row * bands : (row + 1) * bands]
        there = wide[row * width : (row + 1) * width]
        there[:first] = _ZERO
        there[first + count :] = _ZERO
        inside = there[first : first + count]
        for n in range(count):
            k = np.uint64(below[n])  # unsigned: never counted from the end
            j = min(k + np.uint64(1), np.uint64(bands - 1))
            inside[n] = own[k] * low[n] + own[j] * high[n]


@loop(
    "void(f4[:, ::1], f4[:, ::1], f4[:, :, ::1], i8, i8, i8[::1], i8[::1], f4[::1],"
    f" i4[::1], f4[:, ::1], {LISTS}, f4[::1], f4, f4[::1])",
)
def correct_rows(
    spectrum: Floats,
    momentum: Floats,
    mel: Floats,
    row: int,
    low: int,
    begins: Places,
    offsets: Places,
    weights: Floats,
    below: NDArray[np.int32],
    shares: Floats,
    lists: Lists,
    step: Floats,
    power: float,
    space: Floats,
) -> None:
    """The mel step on whole groups of rows, the first of which is the pack's `row`.

    Rows are whole eights of bins, real and imaginary parts in turn. `mel` is what `grouped_target`
    gives; bands beyond those of the tables count for nothing. `low` is the first bin of those that
    the bands hold, `step` has the fields of `StepCoefficients` in their order, and `space`, at
    first zero, is as large as `scratch_size` says.
    """
    pitch, past_pitch, bands = spectrum.shape[1], momentum.shape[1], begins.shape[0]
    # Slices of one axis cost a loop over few bins the least.
    parts, pasts = spectrum.reshape(spectrum.size), momentum.reshape(momentum.size)
    mels = mel.reshape(mel.size)
    chunks, half = past_pitch // 16, 4 * past_pitch
    level, quotients, ratio = space[:half], space[half : 2 * half], space[2 * half :]
    held = GROUP * bands
    bins, places, owners, portions = lists
    listed = places.shape[0] > 0
    squared, raised = power == _TWO, power not in (_ONE, _TWO)
    for start in range(0, spectrum.shape[0], GROUP):
        here = parts[start * pitch + 2 * low : (start + GROUP) * pitch]
        past = pasts[(row + start) * past_pitch : (row + start + GROUP) * past_pitch]
        _levels(here, pitch, past, past_pitch, step, squared, level, quotients, chunks)
        if raised:
            raise_eights(level, power)
        if listed:
            _listed_sums(level, bins, offsets, weights, ratio)
        else:
            _band_sums(level, begins, offsets, weights, ratio)
        there = (row + start) * mel.shape[1]
        _ratios(ratio, mels[there : there + held], step[3])
        factors = ratio
        if listed:  # each bin is a band of its own from here on
            _listed_sums(ratio, owners, places, portions, level)
            factors = level
        _correct_group(
            here, pitch, past, past_pitch, step, factors, below, shares, quotients, chunks
        )
        if past_pitch == pitch:
            continue
        for g in range(start, start + GROUP):
            parts[g * pitch : g * pitch + 2 * low] = _ZERO
            parts[g * pitch + 2 * low + past_pitch : (g + 1) * pitch] = _ZERO


def scratch_size(count: int, bands: int) -> int:
    """Floats that `correct_rows` needs for bands that hold `count` bins: levels, quotients, ratios.

    There is one band more than the config's, because a bin of the last one reads the next.
    """
    return 2 * GROUP * whole_eights(count) + GROUP * (bands + 1)


def whole_eights(count: int) -> int:
    """`count` rounded up to a multiple of eight."""
    return -(-count // GROUP) * GROUP


def grouped_target(mel: Tensor, bound: Tensor) -> Floats:
    """A target `[rows, K]` as `[rows / 8, K, 8]`, filled up: eight rows side by side.

    The mel is never negative: here bounds are, so that they need no array of their own.
    """
    rows = torch.where(bound, -mel, mel)
    filled = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % GROUP))
    grouped: Floats = filled.view(-1, GROUP, rows.shape[1]).transpose(1, 2).contiguous().numpy()
    return grouped


@lru_cache(maxsize=256)
def coefficients(steps: tuple[StepCoefficients, ...]) -> Floats:
    """The coefficients of steps as the loops take them, `[n, 6]`."""
    return np.array(steps, np.float32).reshape(-1, len(StepCoefficients._fields))


_TABLES: WeakKeyDictionary[BandTables, Tables] = WeakKeyDictionary()


def tables(bands: BandTables) -> Tables:
    """`Bands.tables` for whole eights of bins; those beyond the last one have no weight."""
    if bands not in _TABLES:
        begins, offsets, weights, below, shares, (bins, places, owners, portions) = bands.tables
        more = whole_eights(bands.count) - bands.count
        padded = np.pad(below, (0, more)), np.pad(shares, ((0, 0), (0, more)))
        if len(places):
            places = np.pad(places, (0, more), "edge")
        _TABLES[bands] = (begins, offsets, weights, *padded, (bins, places, owners, portions))
    return _TABLES[bands]
