"""Powers, and phases turned into spectra."""

from __future__ import annotations

import numpy as np

from models import polar as phasors
from models import raising
from models.kernels.lanes import (
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
from models.kernels.loop import Floats, Spectra, loop

_ZERO, _HALF, _ONE, _TWO = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0))
_L0, _L1, _L2, _L3 = (np.float32(v) for v in raising.LOG)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(v) for v in raising.EXP)
_LARGEST = np.float32(raising.LARGEST)
_Q0, _Q1, _Q2 = (np.float32(v) for v in phasors.QUARTER)
_QUARTERS = np.float32(phasors.QUARTERS)
_S0, _S1, _S2, _S3, _S4 = (np.float32(v) for v in phasors.SINE)
_C0, _C1, _C2, _C3, _C4 = (np.float32(v) for v in phasors.COSINE)
_ROOT_HALF = np.int32(raising.ROOT_HALF)


@loop()
def raise_eights(values: Floats, exponent: float) -> None:
    """`raising.raised` of whole eights, in place; zero becomes next to nothing.

    In two passes: a processor has few of them under way at once if each is a long chain.
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


@loop("void(f4[:, ::1], f4[:, ::1], c8[:, ::1], i8, i8)")
def polar(magnitude: Floats, phases: Floats, out: Spectra, first: int, end: int) -> None:
    """Bins `first` to `end` of `magnitude e^(i phases)`: `polar.polar_into`."""
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
