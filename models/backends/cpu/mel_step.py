"""The mel step of `consistent`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import LARGEST_RATIO, TINY, MelState, StepCoefficients
from unmel.models.backends.cpu.elementwise import raise_to
from unmel.models.backends.cpu.loop import Floats, Places, Spectra, loop

_GROUP = 8

_TINY, _LARGEST_RATIO = np.float32(TINY), np.float32(LARGEST_RATIO)
# Unsigned places are never counted from the end.
_1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(v) for v in range(1, 9))
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@loop()
def _wish(
    here: Floats, past: Floats, step: Floats, power: int, level: Floats, quotient: Floats
) -> None:
    """`Q^p` of a row, and `Q / |t|`; `here` and `past` are real and imaginary parts in turn."""
    reach, blend, rest = step[0], step[1], step[2]
    for n in range(level.shape[0]):
        re, im = here[2 * n], here[2 * n + 1]
        to_re, to_im = reach * re - past[2 * n], reach * im - past[2 * n + 1]
        length = math.sqrt((to_re * to_re + to_im * to_im) + _TINY)
        wanted = math.sqrt(re * re + im * im) * blend + length * rest
        wanted = _ZERO if wanted < _ZERO else wanted
        level[n] = wanted
        quotient[n] = wanted / length
    if power == 2:
        for n in range(level.shape[0]):
            level[n] = level[n] * level[n]


@loop()
def _by_column(rows: Floats, columns: Floats) -> None:
    """A group's rows as columns: what is the same for a bin of eight rows is one vector's work."""
    n = rows.shape[0] // 8
    r0, r1, r2, r3 = rows[:n], rows[n : 2 * n], rows[2 * n : 3 * n], rows[3 * n : 4 * n]
    r4, r5, r6, r7 = rows[4 * n : 5 * n], rows[5 * n : 6 * n], rows[6 * n : 7 * n], rows[7 * n :]
    for i in range(n):
        k = 8 * i
        columns[k], columns[k + 1], columns[k + 2], columns[k + 3] = r0[i], r1[i], r2[i], r3[i]
        columns[k + 4], columns[k + 5], columns[k + 6], columns[k + 7] = r4[i], r5[i], r6[i], r7[i]


@loop()
def _by_row(columns: Floats, rows: Floats) -> None:
    """The way back from `_by_column`."""
    n = rows.shape[0] // 8
    r0, r1, r2, r3 = rows[:n], rows[n : 2 * n], rows[2 * n : 3 * n], rows[3 * n : 4 * n]
    r4, r5, r6, r7 = rows[4 * n : 5 * n], rows[5 * n : 6 * n], rows[6 * n : 7 * n], rows[7 * n :]
    for i in range(n):
        k = 8 * i
        r0[i], r1[i], r2[i], r3[i] = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
        r4[i], r5[i], r6[i], r7[i] = columns[k + 4], columns[k + 5], columns[k + 6], columns[k + 7]


@loop()
def _band_sums(
    level: Floats, begins: Places, offsets: Places, weights: Floats, sums: Floats
) -> None:
    """`Bands.sums` of a group, both of them by columns."""
    for k in range(begins.shape[0]):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = _ZERO
        n = np.uint64(8 * begins[k])
        for m in range(offsets[k], offsets[k + 1]):
            w = weights[np.uint64(m)]
            s0 += w * level[n]
            s1 += w * level[n + _1]
            s2 += w * level[n + _2]
            s3 += w * level[n + _3]
            s4 += w * level[n + _4]
            s5 += w * level[n + _5]
            s6 += w * level[n + _6]
            s7 += w * level[n + _7]
            n += _8
        to = np.uint64(8 * k)
        sums[to], sums[to + _1], sums[to + _2], sums[to + _3] = s0, s1, s2, s3
        to += _4
        sums[to], sums[to + _1], sums[to + _2], sums[to + _3] = s4, s5, s6, s7


@loop()
def _compare(ratio: Floats, mel: Floats, bound: NDArray[np.bool_]) -> None:
    """From what a row's bands hold to what they should be multiplied by."""
    for k in range(mel.shape[0]):
        limit = _ONE if bound[k] else _LARGEST_RATIO
        ratio[k] = min(mel[k] / (ratio[k] + _TINY), limit)


@loop()
def _spread(ratio: Floats, below: NDArray[np.int32], shares: Floats, gain: Floats) -> None:
    """`Bands.spread` of a group, both by columns.

    The band above the last one is read as what stands behind it, and counts for nothing.
    """
    low, high = shares[0], shares[1]
    for n in range(below.shape[0]):
        u, v = low[n], high[n]
        k = np.uint64(8 * np.int64(below[n]))
        j = k + _8
        g0 = ratio[k] * u + ratio[j] * v
        g1 = ratio[k + _1] * u + ratio[j + _1] * v
        g2 = ratio[k + _2] * u + ratio[j + _2] * v
        g3 = ratio[k + _3] * u + ratio[j + _3] * v
        g4 = ratio[k + _4] * u + ratio[j + _4] * v
        g5 = ratio[k + _5] * u + ratio[j + _5] * v
        g6 = ratio[k + _6] * u + ratio[j + _6] * v
        g7 = ratio[k + _7] * u + ratio[j + _7] * v
        to = np.uint64(8 * n)
        gain[to], gain[to + _1], gain[to + _2], gain[to + _3] = g0, g1, g2, g3
        to += _4
        gain[to], gain[to + _1], gain[to + _2], gain[to + _3] = g4, g5, g6, g7


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


@loop()
def _take(here: Floats, past: Floats, step: Floats, gain: Floats, quotient: Floats) -> None:
    """The row's next `C`, and what the next step subtracts."""
    reach, keep, reflect = step[0], step[4], step[5]
    for n in range(gain.shape[0]):
        re, im = here[2 * n], here[2 * n + 1]
        factor = gain[n] * quotient[n]
        to_re = (reach * re - past[2 * n]) * factor
        to_im = (reach * im - past[2 * n + 1]) * factor
        here[2 * n], here[2 * n + 1] = to_re, to_im
        past[2 * n] = keep * re + reflect * to_re
        past[2 * n + 1] = keep * im + reflect * to_im


@loop(
    "void(c8[:, ::1], c8[:, ::1], f4[:, :, ::1], b1[:, :, ::1], i8, i8, i8[::1], i8[::1], f4[::1],"
    " i4[::1], f4[:, ::1], f4[::1], i8)",
)
def mend_rows(
    spectrum: Spectra,
    behind: Spectra,
    mel: Floats,
    bound: NDArray[np.bool_],
    row: int,
    low: int,
    begins: Places,
    offsets: Places,
    weights: Floats,
    below: NDArray[np.int32],
    shares: Floats,
    step: Floats,
    power: int,
) -> None:
    """`mend`, whose `row` is a multiple of eight. `mel` and `bound` are those of `aim`; bands
    beyond those of the tables count for nothing. `low` is the first bin of those that the bands
    hold; `step` holds the numbers of `mending.Step` in their order.
    """
    rows, count, bands = spectrum.shape[0], behind.shape[1], begins.shape[0]
    width = spectrum.shape[1]
    # Slices of one axis cost a loop over few bins the least; rows that follow each other without a
    # gap are one long row.
    parts = spectrum.reshape(spectrum.size).view(np.float32)
    pasts = behind.reshape(behind.size).view(np.float32)
    mels, bounds = mel.reshape(mel.size), bound.reshape(bound.size)
    joined = count == width
    level = np.zeros(_GROUP * count, np.float32)
    quotient = np.zeros(_GROUP * count, np.float32)
    columns = np.zeros(_GROUP * count, np.float32)
    # One more band than there are: a bin of the last one has nothing above.
    ratio = np.zeros(_GROUP * (bands + 1), np.float32)
    held = _GROUP * bands
    for start in range(0, rows, _GROUP):
        group = min(_GROUP, rows - start)
        lines = 1 if joined else group
        bins = group * count if joined else count
        for g in range(lines):
            here = 2 * ((start + g) * width + low)
            past = 2 * (row + start + g) * count
            _wish(
                parts[here : here + 2 * bins],
                pasts[past : past + 2 * bins],
                step,
                power,
                level[g * count : g * count + bins],
                quotient[g * count : g * count + bins],
            )
        _by_column(level, columns)
        _band_sums(columns, begins, offsets, weights, ratio)
        there = (row + start) * mel.shape[1]
        _compare(ratio[:held], mels[there : there + held], bounds[there : there + held])
        if step[3] != _ONE:
            raise_to(ratio[:held], step[3])
        _spread(ratio, below, shares, columns)
        _by_row(columns, level)
        for g in range(lines):
            here = 2 * ((start + g) * width + low)
            past = 2 * (row + start + g) * count
            _take(
                parts[here : here + 2 * bins],
                pasts[past : past + 2 * bins],
                step,
                level[g * count : g * count + bins],
                quotient[g * count : g * count + bins],
            )
            if not joined:
                parts[here - 2 * low : here] = 0.0
                parts[here + 2 * count : here + 2 * (width - low)] = 0.0


def aim(mel: Tensor, bound: Tensor) -> tuple[Floats, NDArray[np.bool_]]:
    """`[rows, K]` as `[rows / 8, K, 8]`, filled up: eight rows side by side."""
    return _grouped(mel), _grouped(bound)


def _grouped(rows: Tensor) -> NDArray[Any]:
    filled = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % _GROUP))
    return filled.view(-1, _GROUP, rows.shape[1]).transpose(1, 2).contiguous().numpy()


@lru_cache(maxsize=256)
def numbers(steps: tuple[StepCoefficients, ...]) -> Floats:
    """Steps as these loops take them, `[n, 6]`."""
    return np.array(steps, np.float32).reshape(-1, len(StepCoefficients._fields))


def apply(state: MelState, row: int, spectrum: Tensor, step: StepCoefficients) -> None:
    """`Backend.apply_mel_step`."""
    bands, (mel, bound) = state.bands, state.target.prepared
    mend_rows(
        spectrum.numpy(),
        state.momentum.numpy(),
        mel,
        bound,
        row,
        bands.first,
        *bands.tables,
        numbers((step,))[0],
        state.power,
    )
