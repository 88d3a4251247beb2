"""Schedule: how a joint run moves from its first iteration to its last, and what qualities mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

Quality = Literal["draft", "standard", "high"]
DEFAULT_QUALITY: Quality = "standard"


@dataclass(frozen=True)
class Ramp:
    """A value that moves in a straight line from the first iteration to the last."""

    first: float
    last: float

    def at(self, i: int, n: int) -> float:
        """Its value in iteration `i` of `n`."""
        return self.first + (self.last - self.first) * (min(i, n - 1) / (n - 1) if n > 1 else 0.0)

    def towards(self, other: Ramp, share: float) -> Ramp:
        """The ramp that lies `share` of the way to `other`."""
        return Ramp(
            self.first + (other.first - self.first) * share,
            self.last + (other.last - self.last) * share,
        )


FLAT = Ramp(1.0, 1.0)
NONE = Ramp(0.0, 0.0)


@dataclass(frozen=True)
class Schedule:
    """How a run of `n_iter` iterations moves; the symbols are those of `consistent`."""

    n_iter: int
    momentum: Ramp
    reflection: Ramp = NONE
    exponent: Ramp = FLAT
    blend: Ramp = FLAT
    turn: float = 1.0
    """Share of the circle that the start phases are drawn from."""

    def towards(self, other: Schedule, share: float) -> Schedule:
        """The schedule that lies `share` of the way to `other`; keeps this one's `n_iter`."""
        return Schedule(
            self.n_iter,
            self.momentum.towards(other.momentum, share),
            self.reflection.towards(other.reflection, share),
            self.exponent.towards(other.exponent, share),
            self.blend.towards(other.blend, share),
            self.turn + (other.turn - self.turn) * share,
        )


# What each quality of the joint method runs, by the mel's power. For power 1 found by
# benchmarks/search.py's method on half of sixteen clips and checked on the other half; for power
# 2 the same with a smaller exponent and a narrower blend: a compromise between whisper-80, which
# gains by it, and torchaudio and librosa, which lose a little.
QUALITIES: dict[int, dict[Quality, Schedule]] = {
    1: {
        "draft": Schedule(
            32, Ramp(0.98, 0.93), Ramp(0.45, 0.33), Ramp(1.36, 1.72), Ramp(0.15, 1.20), 0.35
        ),
        "standard": Schedule(
            160, Ramp(0.97, 1.00), Ramp(0.20, 0.25), Ramp(1.29, 1.50), Ramp(0.70, 1.25), 0.30
        ),
        "high": Schedule(
            640, Ramp(0.99, 1.00), Ramp(0.10, 0.10), Ramp(1.20, 1.40), Ramp(0.80, 1.20), 0.20
        ),
    },
    2: {
        "draft": Schedule(
            32, Ramp(0.98, 0.93), Ramp(0.45, 0.33), Ramp(1.20, 1.50), Ramp(0.60, 1.20), 0.35
        ),
        "standard": Schedule(
            160, Ramp(0.97, 1.00), Ramp(0.20, 0.25), Ramp(1.15, 1.35), Ramp(0.80, 1.20), 0.30
        ),
        "high": Schedule(
            640, Ramp(0.99, 1.00), Ramp(0.10, 0.10), Ramp(1.15, 1.30), Ramp(0.80, 1.20), 0.20
        ),
    },
}


def joint_schedule(power: int, n_iter: int) -> Schedule:
    """The joint method's schedule for `n_iter` iterations on a mel of `power`.

    Between the qualities it is interpolated over log iterations; beyond them it is stretched.
    """
    knots = list(QUALITIES[power].values())
    below = max((k for k in knots if k.n_iter <= n_iter), key=lambda k: k.n_iter, default=knots[0])
    above = min((k for k in knots if k.n_iter >= n_iter), key=lambda k: k.n_iter, default=knots[-1])
    if below.n_iter < above.n_iter:
        share = math.log(n_iter / below.n_iter) / math.log(above.n_iter / below.n_iter)
        below = below.towards(above, share)
    return replace(below, n_iter=n_iter)
