"""Powers, random phases, and phases turned into spectra."""

from __future__ import annotations

import math

import numpy as np

from unmel.models.backends.base import (
    BIN_STEP,
    FIRST_FACTOR,
    SECOND_FACTOR,
    Floats,
    Keys,
    Spectra,
)
from unmel.models.backends.cpu.loop import loop
from unmel.models.backends.cpu.vectors import (
    fill,
    floor,
    fused,
    larger,
    load,
    power_of_two,
    smaller,
    split,
    store,
)

_HALF, _ONE, _TWO = (np.float32(v) for v in (0.5, 1.0, 2.0))
# A float32 is m 2^k with m from sqrt(1/2) to sqrt(2); these are the bits of sqrt(1/2).
_ROOT_HALF = np.int32(0x3F3504F3)
# log2 m = s (L0 + L1 s^2 + ...) with s = (m - 1) / (m + 1), the series of artanh: |s| < 0.172.
_L0, _L1, _L2, _L3 = (np.float32(2.0 / ((2 * n + 1) * math.log(2.0))) for n in range(4))
# 2^f = E0 + E1 f + E2 f^2 + ..., the series of exp, for |f| <= 1/2.
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (
    np.float32(math.log(2.0) ** n / math.factorial(n)) for n in range(7)
)
_LARGEST = np.float32(126.0)
# A quarter of a turn in three parts, of which the first ones have few enough digits that their
# product with a count of quarters is exact (Cody and Waite 1980; the parts are those of Cephes).
_Q0, _Q1, _Q2 = (np.float32(v) for v in (1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8))
_QUARTERS = np.float32(2.0 / math.pi)
# sin r = r (S0 + S1 r^2 + ...) and cos r = C0 + C1 r^2 + ..., for |r| <= pi / 4.
_S0, _S1, _S2, _S3, _S4 = (np.float32((-1.0) ** n / math.factorial(2 * n + 1)) for n in range(5))
_C0, _C1, _C2, _C3, _C4 = (np.float32((-1.0) ** n / math.factorial(2 * n)) for n in range(5))

_BIN_STEP, _FIRST, _SECOND = (np.uint32(v) for v in (BIN_STEP, FIRST_FACTOR, SECOND_FACTOR))
_S15, _S16 = np.uint32(15), np.uint32(16)


@loop()
def raise_eights(values: Floats, exponent: float) -> None:
    """`values^exponent` in place as `2^(exponent log2 x)`, for whole eights of values up to 2^126.

    The relative error is some 1e-6; zero becomes the smallest power. In two passes, because a
    processor overlaps few long chains of dependent instructions.
    """
    for k in range(0, values.shape[0], 8):
        power, m = split(load(values, k), _ROOT_HALF)
        rest = m - fill(_ONE)
        s = rest / (rest + fill(_TWO))
        z = s * s
        logarithm = fused(fused(fill(_L3), z, fill(_L2)), z * z, fused(fill(_L1), z, fill(_L0)))
        logarithm = fused(logarithm, s, power) * fill(exponent)
        store(values, k, larger(smaller(logarithm, fill(_LARGEST)), fill(-_LARGEST)))
    for k in range(0, values.shape[0], 8):
        logarithm = load(values, k)
        whole = floor(logarithm + fill(_HALF))
        f = logarithm - whole
        g = f * f
        high = fused(fill(_E6), g, fused(fill(_E5), f, fill(_E4)))
        low = fused(fused(fill(_E3), f, fill(_E2)), g, fused(fill(_E1), f, fill(_E0)))
        store(values, k, fused(high, g * g, low) * power_of_two(whole))


@loop("void(u4[:, ::1], f4, f4[:, ::1])")
def draw(keys: Keys, step: float, out: Floats) -> None:
    """See `Backend.draw`; numba's integers are of 64 bits unless they are cut off."""
    rows, width = out.shape
    phases = out.reshape(out.size)
    for row in range(rows):
        a, b = keys[row, 0], keys[row, 1]
        scale = step if a | b else np.float32(0.0)
        phase = phases[row * width : (row + 1) * width]
        for n in range(width):
            x = np.uint32(a + np.uint32(np.uint32(n) * _BIN_STEP))
            x = np.uint32(np.uint32((x ^ (x >> _S16)) * _FIRST) + b)
            x = np.uint32((x ^ (x >> _S15)) * _SECOND)
            phase[n] = np.float32(np.int32(x >> _S16)) * scale


@loop("void(f4[:, ::1], f4[:, ::1], c8[:, ::1], i8, i8)")
def polar(magnitude: Floats, phases: Floats, out: Spectra, first: int, end: int) -> None:
    """Bins `first` to `end` of `magnitude e^(i phases)`.

    The error is some 1e-7 of the magnitude for phases up to 10,000 radians, and grows beyond them.
    """
    rows, stride, width = out.shape[0], magnitude.shape[1], out.shape[1]
    # Slices of one axis cost a loop over few bins the least.
    levels, angles = magnitude.reshape(magnitude.size), phases.reshape(phases.size)
    parts = out.reshape(out.size).view(np.float32)
    for row in range(rows):
        level = levels[row * stride + first : row * stride + end]
        angle = angles[row * stride + first : row * stride + end]
        there = parts[2 * (row * width + first) : 2 * (row * width + end)]
        for n in range(level.shape[0]):
            count = np.floor(angle[n] * _QUARTERS + _HALF)
            rest = angle[n] - count * _Q0
            rest = rest - count * _Q1
            rest = rest - count * _Q2
            z = rest * rest
            sine = ((((z * _S4 + _S3) * z + _S2) * z + _S1) * z + _S0) * rest
            cosine = (((z * _C4 + _C3) * z + _C2) * z + _C1) * z + _C0
            halves = np.floor(count * _HALF)
            odd = count != halves * _TWO
            turned = halves - np.floor(halves * _HALF) * _TWO
            sign = _ONE - turned * _TWO
            there[2 * n] = (-sine if odd else cosine) * sign * level[n]
            there[2 * n + 1] = (cosine if odd else sine) * sign * level[n]
