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

    def part(self, first: float, last: float) -> Ramp:
        """The ramp between two of its points, each from 0 to 1."""
        step = self.last - self.first
        return Ramp(self.first + step * first, self.first + step * last)

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
    shares: tuple[float, ...] = (1.0,)
    """Of the work, for each octave that is run on its own, the lowest first, and for the whole."""

    def stages(self, count: int) -> list[Schedule]:
        """The schedules of the last `count` of its stages, the whole band's last.

        `n_iter` counts iterations of the whole band: one of an octave below costs half as much,
        and its stage has twice as many for its share. The values move evenly over the stages.
        """
        shares = self.shares[-count:]
        work = self.n_iter / sum(shares)
        return [
            replace(
                self.part(k / len(shares), (k + 1) / len(shares)),
                n_iter=max(round(work * share * 2 ** (len(shares) - 1 - k)), min(self.n_iter, 1)),
                shares=(1.0,),
            )
            for k, share in enumerate(shares)
        ]

    def part(self, first: float, last: float) -> Schedule:
        """What it does between two points of its run, each from 0 to 1."""
        return replace(
            self,
            momentum=self.momentum.part(first, last),
            reflection=self.reflection.part(first, last),
            exponent=self.exponent.part(first, last),
            blend=self.blend.part(first, last),
        )

    def towards(self, other: Schedule, share: float) -> Schedule:
        """The schedule that lies `share` of the way to `other`; keeps this one's `n_iter`."""
        return Schedule(
            self.n_iter,
            self.momentum.towards(other.momentum, share),
            self.reflection.towards(other.reflection, share),
            self.exponent.towards(other.exponent, share),
            self.blend.towards(other.blend, share),
            self.turn + (other.turn - self.turn) * share,
            tuple(a + (b - a) * share for a, b in zip(self.shares, other.shares, strict=True)),
        )


# A quarter for the whole band, the rest for the four octaves below it.
SHARES = (0.15, 0.20, 0.20, 0.20, 0.25)


def _table(standard_exponent: Ramp) -> dict[Quality, Schedule]:
    momentum, reflection, blend = Ramp(0.99, 1.05), Ramp(0.60, 0.55), Ramp(0.30, 0.60)
    level, slight, lower = Ramp(1.0, 1.0), Ramp(0.15, 0.15), Ramp(0.20, 0.50)
    return {
        "draft": Schedule(20, momentum, reflection, Ramp(1.25, 1.30), blend, 0.45, SHARES),
        "standard": Schedule(80, momentum, reflection, standard_exponent, blend, 0.45, SHARES),
        "high": Schedule(320, level, slight, Ramp(1.15, 1.15), lower, 0.45, SHARES),
    }


# What each quality of the joint method runs, by the mel's power. Found by benchmarks/search.py's
# method on half of sixteen clips and checked on the other half, on a mel of power 1; of power 2
# what of it was best on four presets.
QUALITIES: dict[int, dict[Quality, Schedule]] = {
    1: _table(standard_exponent=Ramp(1.25, 1.30)),
    2: _table(standard_exponent=Ramp(1.15, 1.20)),
}

# What it runs of the other methods, whose iterations all go over the whole band.
ITERATIONS: dict[Quality, int] = {"draft": 32, "standard": 160, "high": 640}


def iterations(power: int, octaves: int, quality: Quality) -> int:
    """What a quality runs on a config of that power and of so many octaves below the whole band:
    the fewer there are, the more of the whole band's iterations the same result takes.
    """
    missing = 1.0 - octaves / (len(SHARES) - 1)
    return round(QUALITIES[power][quality].n_iter * (1.0 + missing))


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
