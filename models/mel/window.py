"""The analysis windows by name: their values, and what methods know of their shapes."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Window = Literal[
    "hann",
    "hann_symmetric",
    "hamming",
    "hamming_symmetric",
    "blackman",
    "blackman_symmetric",
    "povey",
    "rectangular",
]


class Shape(NamedTuple):
    """What defines a window, and what methods know of it."""

    cosines: tuple[float, float, float]
    """`a` in `a0 - a1 cos(u) + a2 cos(2 u)`, with `u` from 0 to 2 pi over the window."""
    gauss: float
    """`g / w^2` of the Gaussian `exp(-pi t^2 / g)` that is nearest to a window of length `w`, by
    least squares; Prusa, Balazs and Sondergaard 2017 give that of Hann's."""
    first_negative: int
    """Its transform is negative from so many of 1/win from the peak up to one more. (Hamming's and
    Blackman's have a pair of zeros nearer to the peak, between which they are next to nothing.)"""
    exponent: float = 1.0
    """Power of the sum: Kaldi's Povey window."""


_HANN = Shape((0.5, 0.5, 0.0), 0.25645, 2)
_HAMMING = Shape((0.54, 0.46, 0.0), 0.298, 3)
_BLACKMAN = Shape((0.42, 0.5, 0.08), 0.1795, 4)
SHAPES: dict[str, Shape] = {
    "hann": _HANN,
    "hann_symmetric": _HANN,
    "hamming": _HAMMING,
    "hamming_symmetric": _HAMMING,
    "blackman": _BLACKMAN,
    "blackman_symmetric": _BLACKMAN,
    "povey": Shape((0.5, 0.5, 0.0), 0.29, 2, 0.85),
    "rectangular": Shape((1.0, 0.0, 0.0), 0.95, 1),
}
_SYMMETRIC = {"hann_symmetric", "hamming_symmetric", "blackman_symmetric", "povey"}


@lru_cache(maxsize=256)  # every pack needs it, at each of its octaves
def window_values(name: Window, length: int, step: int = 1) -> NDArray[np.float64]:
    """A window's values, read-only.

    A periodic window of `length` samples is one sample short of its second end, which a symmetric
    one (`numpy.hanning`, Kaldi's) reaches.

    Parameters
    ----------
    name
        The window.
    length
        Number of values.
    step
        Give every `step`-th value of the window of `step * length` samples: its samples at a
        `step`-th of the rate.

    Returns
    -------
    NDArray[np.float64]
        Values `[length]`.

    Examples
    --------
    >>> window_values("hann", 4).round(3).tolist()
    [0.0, 0.5, 1.0, 0.5]
    >>> window_values("hamming_symmetric", 3).round(3).tolist()
    [0.08, 1.0, 0.08]
    """
    shape = SHAPES[name]
    a0, a1, a2 = shape.cosines
    whole = length * step - (name in _SYMMETRIC)
    angle = 2.0 * np.pi * step * np.arange(length) / whole
    values: NDArray[np.float64] = a0 - a1 * np.cos(angle)
    if a2:
        values += a2 * np.cos(2.0 * angle)
    # Blackman's sum is zero at its ends but for a rounding, which may be negative.
    values = np.maximum(values, 0.0) ** shape.exponent
    values.setflags(write=False)
    return values
