"""Mels degraded as an acoustic model's: blurred over time or frequency, noisy, in 16 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


def _blur(values: Values, axis: int) -> Values:
    """Mean of three neighbours along an axis with weights of a quarter, a half, a quarter."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (1, 1)
    wide = np.pad(values, pad, mode="edge")
    n = values.shape[axis]
    before, here, after = (np.take(wide, range(k, k + n), axis) for k in range(3))
    return np.asarray(0.25 * before + 0.5 * here + 0.25 * after, np.float32)


def over_frequency(values: Values) -> Values:
    """Stored mel `[K, T]`, blurred over bands."""
    return _blur(values, 0)


def over_time(values: Values) -> Values:
    """Stored mel `[K, T]`, blurred over frames."""
    return _blur(values, 1)


def noisy(values: Values) -> Values:
    """Stored mel `[K, T]` with normal noise of 0.2 (1.7 dB for ln of a magnitude)."""
    draw = np.random.default_rng(0)
    return (values + 0.2 * draw.standard_normal(values.shape)).astype(np.float32)


def sixteen_bits(values: Values) -> Values:
    """Stored mel `[K, T]` rounded to float16."""
    return values.astype(np.float16).astype(np.float32)


DEGRADATIONS: dict[str, Callable[[Values], Values]] = {
    "blurred over time": over_time,
    "blurred over frequency": over_frequency,
    "noisy": noisy,
    "16-bit": sixteen_bits,
}
