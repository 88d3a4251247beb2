"""Inner loops that numba compiles: what torch does in many passes over memory, in one.

Each is the twin of torch code (named in its docstring) and takes the same steps of float32 in
the same order, without fused or reordered arithmetic, so that both give the same bits. Loops run
over slices of one row and with few arrays at a time, or LLVM does not vectorise them. Importing
this module compiles or loads everything in it: `models/compiled.py` does that in the background.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from models import raising
from models.projection import LARGEST_RATIO, TINY

F = TypeVar("F", bound=Callable[..., object])
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Spectra = NDArray[np.complex64]

_GROUP = 8  # rows that share a look at the bands

_TINY, _LARGEST_RATIO = np.float32(TINY), np.float32(LARGEST_RATIO)
_ZERO, _HALF, _ONE, _TWO = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0))
_L0, _L1, _L2, _L3 = (np.float32(v) for v in raising.LOG)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(v) for v in raising.EXP)
_LARGEST = np.float32(raising.LARGEST)
_ROOT_HALF, _BIAS, _FRACTION = (np.int32(v) for v in (raising.ROOT_HALF, 127, 23))


def _loop(signature: str | None = None) -> Callable[[F], F]:
    """Compile for these types now; without any, when a caller is compiled."""
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",  # a division by zero is infinite, not an exception
        "cache": bool(numba.config.CACHE_DIR),  # type: ignore[attr-defined] # set at import
    }
    return cast(Callable[[F], F], numba.njit(signature, **options))


@_loop("void(f4[::1], f4[::1], f4[:, ::1], i8, i8)")
def frame(signal: Floats, window: Floats, frames: Floats, first: int, hop: int) -> None:
    """Windowed frames of a signal, from frame `first` on: `PackedStft.spectrum`'s first half."""
    length = window.shape[0]
    for row in range(frames.shape[0]):
        begin = (first + row) * hop
        samples = signal[begin : begin + length]
        out = frames[row, :length]
        for n in range(length):
            out[n] = samples[n] * window[n]


@_loop("void(f4[:, ::1], f4[::1], f4[:, ::1], f4[::1], f4[::1], i8, i8)")
def overlap_add(
    frames: Floats,
    window: Floats,
    carry: Floats,
    scale: Floats,
    signal: Floats,
    first: int,
    hop: int,
) -> None:
    """Window and overlap-add frames from `first` on; hops that no later frame reaches are scaled
    and done, the others wait in `carry` `[overlap - 1, hop]`. `PackedStft.add`'s second half.
    """
    rows, length = frames.shape[0], window.shape[0]
    ahead = carry.shape[0]
    total = np.empty(hop, np.float32)
    for j in range(rows + ahead):
        if j < ahead:
            before = carry[j]
            for n in range(hop):
                total[n] = before[n]
        else:
            for n in range(hop):
                total[n] = _ZERO
        # From the earliest frame to the latest, whatever the blocks.
        for r in range(min(ahead, j), max(-1, j - rows), -1):
            begin = r * hop
            end = min(begin + hop, length)
            piece, part = frames[j - r, begin:end], window[begin:end]
            for n in range(end - begin):
                total[n] += piece[n] * part[n]
        if j < rows:
            begin = (first + j) * hop
            out, factor = signal[begin : begin + hop], scale[begin : begin + hop]
            for n in range(hop):
                out[n] = total[n] * factor[n]
        else:
            after = carry[j - rows]
            for n in range(hop):
                after[n] = total[n]


@_loop("void(f4[::1], i8[::1], i8[::1])")
def move(signal: Floats, targets: NDArray[np.int64], sources: NDArray[np.int64]) -> None:
    """Copy samples within a signal: `PackedStft.mend`."""
    for n in range(targets.shape[0]):
        signal[targets[n]] = signal[sources[n]]


@_loop("void(f4[::1], f4)")
def raise_to(values: Floats, exponent: float) -> None:
    """`values^exponent` in place: `raising.raised`."""
    for n in range(values.shape[0]):
        value = np.float32(values[n])
        bits = value.view(np.int32)
        power = np.int32(np.int32(bits - _ROOT_HALF) >> _FRACTION)
        rest = np.int32(bits - np.int32(power << _FRACTION)).view(np.float32) - _ONE
        s = rest / (rest + _TWO)
        z = s * s
        logarithm = (((z * _L3 + _L2) * z + _L1) * z + _L0) * s + np.float32(power)
        logarithm *= exponent
        logarithm = max(min(logarithm, _LARGEST), -_LARGEST)
        whole = np.floor(logarithm + _HALF)
        f = logarithm - whole
        found = f * _E6 + _E5
        found = found * f + _E4
        found = found * f + _E3
        found = found * f + _E2
        found = found * f + _E1
        found = found * f + _E0
        scale = np.int32(np.int32(np.int32(whole) + _BIAS) << _FRACTION).view(np.float32)
        values[n] = found * scale if value > _ZERO else _ZERO


@_loop()
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


@_loop()
def _band_sums(
    level: Floats,
    begins: NDArray[np.int64],
    offsets: NDArray[np.int64],
    weights: Floats,
    sums: Floats,
) -> None:
    """`Bands.sums` of `_GROUP` rows at once, so that no addition waits for the last one."""
    l0, l1, l2, l3 = level[0], level[1], level[2], level[3]
    l4, l5, l6, l7 = level[4], level[5], level[6], level[7]
    for k in range(begins.shape[0]):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = _ZERO
        n = np.uint64(begins[k])  # unsigned: never counted from the end
        for m in range(offsets[k], offsets[k + 1]):
            w = weights[np.uint64(m)]
            s0 += w * l0[n]
            s1 += w * l1[n]
            s2 += w * l2[n]
            s3 += w * l3[n]
            s4 += w * l4[n]
            s5 += w * l5[n]
            s6 += w * l6[n]
            s7 += w * l7[n]
            n += np.uint64(1)
        sums[0, k], sums[1, k], sums[2, k], sums[3, k] = s0, s1, s2, s3
        sums[4, k], sums[5, k], sums[6, k], sums[7, k] = s4, s5, s6, s7


@_loop()
def _compare(ratio: Floats, mel: Floats, bound: NDArray[np.bool_]) -> None:
    """From what a row's bands hold to what they should be multiplied by."""
    for k in range(mel.shape[0]):
        limit = _ONE if bound[k] else _LARGEST_RATIO
        ratio[k] = min(mel[k] / (ratio[k] + _TINY), limit)


@_loop()
def _spread(
    ratio: Floats, bands: int, below: NDArray[np.int32], shares: Floats, gain: Floats
) -> None:
    """`Bands.spread` of `_GROUP` rows, four at once: a bin's bands are looked up once for them.

    The band above the last one is read as the next row's first, and counts for nothing.
    """
    low, high = shares[0], shares[1]
    for g in range(0, _GROUP, 4):
        r0, r1 = ratio[g * bands :], ratio[(g + 1) * bands :]
        r2, r3 = ratio[(g + 2) * bands :], ratio[(g + 3) * bands :]
        g0, g1, g2, g3 = gain[g], gain[g + 1], gain[g + 2], gain[g + 3]
        for n in range(g0.shape[0]):
            k = np.uint64(below[n])  # unsigned: never counted from the end
            j = k + np.uint64(1)
            u, v = low[n], high[n]
            g0[n] = r0[k] * u + r0[j] * v
            g1[n] = r1[k] * u + r1[j] * v
            g2[n] = r2[k] * u + r2[j] * v
            g3[n] = r3[k] * u + r3[j] * v


@_loop()
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


@_loop(
    "void(c8[:, ::1], c8[:, ::1], f4[:, ::1], b1[:, ::1], i8, i8, i8[::1], i8[::1], f4[::1],"
    " i4[::1], f4[:, ::1], f4[::1], i8)",
)
def mend(
    spectrum: Spectra,
    behind: Spectra,
    mel: Floats,
    bound: NDArray[np.bool_],
    row: int,
    low: int,
    begins: NDArray[np.int64],
    offsets: NDArray[np.int64],
    weights: Floats,
    below: NDArray[np.int32],
    shares: Floats,
    step: Floats,
    power: int,
) -> None:
    """A step of `consistent` on a block of spectra, in place: `Mending.mend`.

    `row` is the block's first row in the pack, `low` the first bin of those that the bands hold;
    `step` holds the numbers of `mending.Step` in their order.
    """
    rows, count, bands = spectrum.shape[0], behind.shape[1], mel.shape[1]
    width = spectrum.shape[1]
    # Slices of one axis cost a loop over few bins the least; rows that follow each other without a
    # gap are one long row.
    parts = spectrum.reshape(spectrum.size).view(np.float32)
    pasts = behind.reshape(behind.size).view(np.float32)
    mels, bounds = mel.reshape(mel.size), bound.reshape(bound.size)
    joined = count == width
    level = np.zeros(_GROUP * count, np.float32)
    quotient = np.zeros(_GROUP * count, np.float32)
    # One more band than there are: a bin of the last one has nothing above.
    ratio = np.zeros(_GROUP * bands + 1, np.float32)
    levels, ratios = level.reshape(_GROUP, count), ratio[: _GROUP * bands].reshape(_GROUP, bands)
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
        _band_sums(levels, begins, offsets, weights, ratios)
        there = (row + start) * bands
        ended = there + group * bands
        _compare(ratio[: group * bands], mels[there:ended], bounds[there:ended])
        if step[3] != _ONE:
            raise_to(ratio[: group * bands], step[3])
        _spread(ratio, bands, below, shares, levels)
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


@_loop()
def _before(a: int, b: int, loud: Doubles) -> bool:
    """Whether `a` leaves the heap before `b`."""
    return bool(loud[a] < loud[b] or (loud[a] == loud[b] and a < b))


@_loop()
def _rise(
    heap: NDArray[np.int64], size: int, what: int, loud: Doubles, todo: NDArray[np.bool_]
) -> int:
    """Put `what`, which is done now, into a heap of `size`; gives the new size."""
    todo[what] = False
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(what, heap[parent], loud):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = what
    return size + 1


@_loop()
def _sink(heap: NDArray[np.int64], size: int, what: int, loud: Doubles) -> None:
    """Put `what` in place of the first of a heap of `size`."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap[child + 1], heap[child], loud):
            child += 1
        if not _before(heap[child], what, loud):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = what


@_loop("void(i8[::1], f8[::1], f8[::1], f8[::1], b1[::1], f8[::1], i8)")
def grow(
    order: NDArray[np.int64],
    loud: Doubles,
    along: Doubles,
    across: Doubles,
    todo: NDArray[np.bool_],
    phase: Doubles,
    width: int,
) -> None:
    """`pghi.grow_islands`: a binary heap by loudness, then by place."""
    heap = np.empty(order.shape[0] + 1, np.int64)
    for seed in order:
        if not todo[seed]:
            continue
        todo[seed], phase[seed] = False, 0.0
        heap[0] = seed
        size = 1
        while size:
            at = heap[0]
            size -= 1
            if size:
                _sink(heap, size, heap[size], loud)
            here = phase[at]
            if todo[at + width]:
                phase[at + width] = here + along[at] + along[at + width]
                size = _rise(heap, size, at + width, loud, todo)
            if todo[at - width]:
                phase[at - width] = here - along[at] - along[at - width]
                size = _rise(heap, size, at - width, loud, todo)
            if todo[at + 1]:
                phase[at + 1] = here + across[at] + across[at + 1]
                size = _rise(heap, size, at + 1, loud, todo)
            if todo[at - 1]:
                phase[at - 1] = here - across[at] - across[at - 1]
                size = _rise(heap, size, at - 1, loud, todo)
