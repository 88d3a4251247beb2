"""Pre-emphasis `x[n] - a x[n - 1]` of a signal, and its inverse, in blocks that continue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Samples of a block of the inverse filter: its work in float64 stays in the cache.
_BLOCK = 2**15
# Weights of a past below this are nothing in float64.
_NOTHING = 1e-30


def emphasize(wave: NDArray[np.float32], coefficient: float) -> NDArray[np.float64]:
    """The signal that an extractor makes its frames of; the sample before the first is zero.

    Parameters
    ----------
    wave
        Samples `[L]`.
    coefficient
        `a`, from 0 up to 1.
    """
    out = wave.astype(np.float64)
    out[1:] -= coefficient * out[:-1]
    return out


def deemphasize(
    emphasized: NDArray[np.float32], coefficient: float, before: float = 0.0
) -> NDArray[np.float64]:
    """The signal `y[n] = x[n] + a y[n - 1]` whose emphasis was given.

    `1 / (1 - a z) = (1 + a z)(1 + a^2 z^2)(1 + a^4 z^4)...`, a handful of passes over an array.

    Parameters
    ----------
    emphasized
        Samples `[L]`, `x`.
    coefficient
        `a`, from 0 up to 1.
    before
        `y` of the sample before the first.

    Returns
    -------
    NDArray[np.float64]
        Samples `[L]`, `y`; the last one is what the next part of the signal continues from.
    """
    out = emphasized.astype(np.float64)
    for first in range(0, len(out), _BLOCK):
        block = out[first : first + _BLOCK]
        block[0] += coefficient * before
        delay, weight = 1, coefficient
        while delay < len(block) and weight > _NOTHING:
            block[delay:] += weight * block[:-delay]
            delay, weight = 2 * delay, weight * weight
        before = float(block[-1])
    return out
