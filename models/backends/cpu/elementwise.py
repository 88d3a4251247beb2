"""Powers, and phases turned into spectra."""

from __future__ import annotations

import numpy as np

from unmel.models.backends import polar as phasors
from unmel.models.backends import powers
from unmel.models.backends.cpu.loop import Floats, Spectra, loop

_ZERO, _HALF, _ONE, _TWO = (np.float32(v) for v in (0.0, 0.5, 1.0, 2.0))
_L0, _L1, _L2, _L3 = (np.float32(v) for v in powers.LOG)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (np.float32(v) for v in powers.EXP)
_LARGEST = np.float32(powers.LARGEST)
_Q0, _Q1, _Q2 = (np.float32(v) for v in phasors.QUARTER)
_QUARTERS = np.float32(phasors.QUARTERS)
_S0, _S1, _S2, _S3, _S4 = (np.float32(v) for v in phasors.SINE)
_C0, _C1, _C2, _C3, _C4 = (np.float32(v) for v in phasors.COSINE)
_ROOT_HALF, _BIAS, _FRACTION = (np.int32(v) for v in (powers.ROOT_HALF, 127, 23))


@loop("void(f4[::1], f4)")
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
