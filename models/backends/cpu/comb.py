"""A band of a signal filtered out, and made more like itself a period earlier and later."""

from __future__ import annotations

from typing import Any

import numpy as np

from unmel.models.backends.base import JUMP, Floats
from unmel.models.backends.cpu.loop import loop
from unmel.models.backends.cpu.vectors import fill, fused, load, store

_HALF, _ZERO = np.float32(0.5), np.float32(0.0)
_TWO, _THREE, _FOUR, _FIVE = (np.float32(v) for v in (2.0, 3.0, 4.0, 5.0))
_JUMP = np.float32(JUMP)

Real = np.floating[Any]


@loop()
def _filtered(space: Floats, taps: Floats, n: int) -> Any:
    """Eight samples of `convolve` from the `n`-th on."""
    half = taps.shape[0] // 2
    total = load(space, n + half) * fill(taps[half])
    for k in range(1, half + 1):
        pair = load(space, n + half - k) + load(space, n + half + k)
        total = fused(pair, fill(taps[half + k]), total)
    return total


@loop("void(f4[::1], f4[::1], f4[::1], f4[::1])")
def convolve(clip: Floats, taps: Floats, space: Floats, out: Floats) -> None:
    """A clip through a filter of `2 H + 1` symmetric taps, zeros about it.

    `space` is zero, with `H` places before the clip and `H` and an eight behind it.
    """
    half, count = taps.shape[0] // 2, clip.shape[0]
    space[half : half + count] = clip
    whole = count // 8 * 8
    for n in range(0, whole, 8):
        store(out, n, _filtered(space, taps, n))
    if whole < count:
        rest = np.empty(8, np.float32)
        store(rest, 0, _filtered(space, taps, whole))
        out[whole:count] = rest[: count - whole]


@loop()
def _at(band: Floats, place: int | np.integer[Any]) -> Real:
    inside: Real = band[place] if 0 <= place < band.shape[0] else _ZERO
    return inside


@loop()
def _cubic(f: Real) -> tuple[Real, Real, Real, Real]:
    """Weights of four neighbours for a value `f` of the way from the second to the third."""
    g = f * f
    outer, inner = g - f, g * (_THREE * f - _FIVE)
    return (
        _HALF * (g * (_TWO - f) - f),
        _HALF * (inner + _TWO),
        _HALF * (f + g * (_FOUR - _THREE * f)),
        _HALF * f * outer,
    )


@loop()
def _near_edge(clip: Floats, band: Floats, n: int, lag: Real, share: Real) -> None:
    """`Backend.comb` of one sample whose neighbours may lie outside the clip."""
    whole = np.int64(lag)
    a, b, c, d = _cubic(lag - np.float32(whole))
    p, q = n - whole, n + whole
    total = a * (_at(band, p + 1) + _at(band, q - 1)) + b * (_at(band, p) + _at(band, q))
    total += c * (_at(band, p - 1) + _at(band, q + 1)) + d * (_at(band, p - 2) + _at(band, q + 2))
    clip[n] += share * (_HALF * total - band[n])


@loop()
def _inside(
    clip: Floats, band: Floats, begin: int, end: int, lag: Real, slope: Real, v: Real, gain: Real
) -> None:
    """`Backend.comb` of samples whose neighbours lie in the clip; period and share go on."""
    one, two = np.uint64(1), np.uint64(2)
    for n in range(begin, end):
        step = np.float32(n - begin)
        here, share = lag + step * slope, v + step * gain
        whole = np.int32(here)
        a, b, c, d = _cubic(here - np.float32(whole))
        p, q = np.uint64(n - whole), np.uint64(n + whole)
        total = a * (band[p + one] + band[q - one]) + b * (band[p] + band[q])
        total += c * (band[p - one] + band[q + one]) + d * (band[p - two] + band[q + two])
        clip[n] += share * (_HALF * total - band[n])


@loop("void(f4[::1], f4[::1], f4[::1], f4[::1], i8, i8)")
def add_comb(
    clip: Floats, band: Floats, periods: Floats, shares: Floats, hop: int, middle: int
) -> None:
    """`Backend.comb` of one clip, `middle` samples from a frame's first to its middle."""
    count, last = clip.shape[0], periods.shape[0] - 1
    one = np.float32(hop)
    for row in range(-1, last + 1):
        # From the middle of this row's frame to the next one's; as there beyond the outer ones.
        here, there = max(row, 0), min(row + 1, last)
        v, gain = shares[here], (shares[there] - shares[here]) / one
        if v == _ZERO and shares[there] == _ZERO:
            continue
        begin = row * hop + middle if row >= 0 else 0
        end = min((row + 1) * hop + middle, count) if row < last else count
        lag, slope = periods[here], (periods[there] - periods[here]) / one
        furthest = np.int64(max(periods[here], periods[there])) + 3
        apart = max(periods[here], periods[there]) > min(periods[here], periods[there]) * _JUMP
        if not apart and begin >= furthest and end + furthest <= count:
            _inside(clip, band, begin, end, lag, slope, v, gain)
            continue
        for n in range(begin, end):
            step = np.float32(n - begin)
            period = lag + step * slope
            if apart:
                period = lag if step < _HALF * one else periods[there]
            _near_edge(clip, band, n, period, v + step * gain)
