"""What every backend is given, and the numbers that all of them share."""

from __future__ import annotations

from typing import NamedTuple

# |t|^2 may be this small before its phase is taken as nothing; targets are of the order of 1.
TINY = 1e-20

# A band whose prediction is this many times too small is corrected no further in one step; without
# a limit a band that the signal has emptied would be multiplied past the range of a float.
LARGEST_RATIO = 1e4


class StepCoefficients(NamedTuple):
    """The numbers of one iteration, in the symbols of `consistent`."""

    relaxation: float
    """`1 + a + m`."""
    blend: float
    """`b`."""
    rest: float
    """`1 - b`."""
    exponent: float
    """`g / p`."""
    keep: float
    """`a` of the next iteration."""
    reflect: float
    """`m` of the next iteration."""
