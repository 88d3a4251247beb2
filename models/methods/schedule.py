"""Schedule: the coefficients of a joint run over its iterations, and those of each quality."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

Quality = Literal["draft", "standard", "high"]
DEFAULT_QUALITY: Quality = "standard"


@dataclass(frozen=True)
class Ramp:
    """A value that changes linearly from the first iteration to the last."""

    first: float
    last: float

    def at(self, i: int, n: int) -> float:
        """Value in iteration `i` of `n`."""
        return self.first + (self.last - self.first) * (min(i, n - 1) / (n - 1) if n > 1 else 0.0)

    def part(self, first: float, last: float) -> Ramp:
        """The ramp between two points of this one, each from 0 to 1."""
        return Ramp(_mix(self.first, self.last, first), _mix(self.first, self.last, last))

    def towards(self, other: Ramp, share: float) -> Ramp:
        """The interpolated ramp, this one at a share of 0 and `other` at 1."""
        return Ramp(_mix(self.first, other.first, share), _mix(self.last, other.last, share))


def _mix(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


FLAT = Ramp(1.0, 1.0)
NONE = Ramp(0.0, 0.0)
# Last exponent of a relaxed run.
_RELAXED = 0.1
_RAMPS = "momentum", "reflection", "exponent", "blend"


@dataclass(frozen=True)
class Schedule:
    """Coefficients of a run of `n_iter` iterations, named as in `consistent`."""

    n_iter: int
    momentum: Ramp
    reflection: Ramp = NONE
    exponent: Ramp = FLAT
    blend: Ramp = FLAT
    turn: float = 1.0
    """Share of the circle from which random start phases are drawn."""
    shares: tuple[float, ...] = (1.0,)
    """Shares of the work of the octaves that are run, the lowest first, and of the whole band."""
    comb: float = 0.0
    """Share of the pitch comb between the iterations: see `pitch_comb`."""

    def stages(self, count: int) -> list[Schedule]:
        """The schedules of the last `count` stages; the whole band's is the last one.

        `n_iter` counts iterations of the whole band: an iteration of the octave below costs half
        as much, and its stage has twice as many for the same share. The ramps go through all
        stages at an even pace.

        Parameters
        ----------
        count
            Number of stages, at most that of `shares`.
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

    def relaxed(self) -> Schedule:
        """The schedule that keeps less and less to a noisy mel, which no signal has."""
        return replace(self, exponent=Ramp(self.exponent.first, _RELAXED))

    def part(self, first: float, last: float) -> Schedule:
        """The schedule between two points of the run, each from 0 to 1."""
        return replace(self, **{name: getattr(self, name).part(first, last) for name in _RAMPS})

    def towards(self, other: Schedule, share: float) -> Schedule:
        """The interpolated schedule, with this one's `n_iter`.

        Parameters
        ----------
        other
            The schedule at a share of 1.
        share
            0 to 1.
        """
        pairs = zip(self.shares, other.shares, strict=True)
        return replace(
            self,
            **{n: getattr(self, n).towards(getattr(other, n), share) for n in _RAMPS},
            turn=_mix(self.turn, other.turn, share),
            comb=_mix(self.comb, other.comb, share),
            shares=tuple(_mix(a, b, share) for a, b in pairs),
        )


# A quarter for the whole band, the rest for the four octaves below it.
SHARES = (0.15, 0.20, 0.20, 0.20, 0.25)
# Fewer iterations follow a draft's combs, and more of them is left.
COMB, DRAFT_COMB = 0.3, 0.25


def _table(standard_exponent: Ramp) -> dict[Quality, Schedule]:
    momentum, reflection, blend = Ramp(0.99, 1.05), Ramp(0.60, 0.55), Ramp(0.30, 0.60)
    level, slight, lower = Ramp(1.0, 1.0), Ramp(0.15, 0.15), Ramp(0.20, 0.50)
    shared = 0.45, SHARES
    return {
        "draft": Schedule(20, momentum, reflection, Ramp(1.25, 1.30), blend, *shared, DRAFT_COMB),
        "standard": Schedule(80, momentum, reflection, standard_exponent, blend, *shared, COMB),
        "high": Schedule(320, level, slight, Ramp(1.15, 1.15), lower, *shared, COMB),
    }


# The joint method's schedules by the mel's power; `qualities` has those of other powers. Found by
# benchmarks/search.py on half of sixteen clips and checked on the other half, for power 1; for
# power 2 only the exponents were chosen anew, on four presets.
QUALITIES: dict[int, dict[Quality, Schedule]] = {
    1: _table(standard_exponent=Ramp(1.25, 1.30)),
    2: _table(standard_exponent=Ramp(1.15, 1.20)),
}


def between_powers(power: float) -> float:
    """A mel's power as a share of the way from 1 to 2; 0 below 1.

    There an exponent may be anything from 0.9 to 1.4 with PESQ within 0.07, and 1.5 breaks it.
    """
    return max(power - 1.0, 0.0)


def qualities(power: float) -> dict[Quality, Schedule]:
    """The joint method's schedules for a mel's power, interpolated between those of 1 and 2.

    Parameters
    ----------
    power
        Power of the mel, 0.5 to 2.
    """
    if power in QUALITIES:
        return QUALITIES[int(power)]
    pairs = zip(QUALITIES[1].items(), QUALITIES[2].values(), strict=True)
    return {name: one.towards(two, between_powers(power)) for (name, one), two in pairs}


# Iterations of each quality of the other methods, which always run the whole band.
ITERATIONS: dict[Quality, int] = {"draft": 32, "standard": 160, "high": 640}


def iterations(power: float, octaves: int, quality: Quality) -> int:
    """Iterations of a quality of the joint method.

    The fewer octaves a config has, the more iterations of the whole band the same result takes.

    Parameters
    ----------
    power
        Power of the mel, 0.5 to 2.
    octaves
        Octaves below the whole band, `MelConfig.octaves`.
    quality
        The quality.
    """
    missing = 1.0 - octaves / (len(SHARES) - 1)
    return round(qualities(power)[quality].n_iter * (1.0 + missing))


def joint_schedule(power: float, n_iter: int) -> Schedule:
    """The joint method's schedule for a number of iterations.

    Interpolated between those of the qualities over log iterations; beyond them the nearest one.

    Parameters
    ----------
    power
        Power of the mel, 0.5 to 2.
    n_iter
        Number of iterations.
    """
    knots = list(qualities(power).values())
    below = max((k for k in knots if k.n_iter <= n_iter), key=lambda k: k.n_iter, default=knots[0])
    above = min((k for k in knots if k.n_iter >= n_iter), key=lambda k: k.n_iter, default=knots[-1])
    if below.n_iter < above.n_iter:
        share = math.log(n_iter / below.n_iter) / math.log(above.n_iter / below.n_iter)
        below = below.towards(above, share)
    return replace(below, n_iter=n_iter)
