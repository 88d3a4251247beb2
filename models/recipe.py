"""Recipe: which method a request runs, for how long and how; and what the qualities mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from models.errors import Invalid

Quality = Literal["draft", "standard", "high"]
DEFAULT_QUALITY: Quality = "standard"
DEFAULT_METHOD = "consistent"
DEFAULT_INVERSION = "pinv"
DEFAULT_PHASE = "griffin_lim"


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


# What each quality of the joint method runs, by the mel's power. Found on half of sixteen clips
# and checked on the other half; see benchmarks/search.py.
QUALITIES: dict[int, dict[Quality, Schedule]] = {
    1: {
        "draft": Schedule(
            32, Ramp(0.98, 0.93), Ramp(0.45, 0.33), Ramp(1.36, 1.72), Ramp(0.15, 1.20), 0.35
        ),
        "standard": Schedule(
            100, Ramp(0.96, 1.00), Ramp(0.20, 0.40), Ramp(1.29, 1.60), Ramp(0.60, 1.33), 0.20
        ),
        "high": Schedule(
            400, Ramp(0.99, 1.00), Ramp(0.10, 0.10), Ramp(1.20, 1.40), Ramp(0.80, 1.20), 0.20
        ),
    },
    2: {
        "draft": Schedule(
            32, Ramp(0.98, 0.93), Ramp(0.45, 0.33), Ramp(1.20, 1.50), Ramp(0.60, 1.20), 0.35
        ),
        "standard": Schedule(
            100, Ramp(0.96, 1.00), Ramp(0.14, 0.41), Ramp(1.15, 1.35), Ramp(0.80, 1.20), 0.20
        ),
        "high": Schedule(
            400, Ramp(0.99, 1.00), Ramp(0.10, 0.10), Ramp(1.15, 1.30), Ramp(0.80, 1.20), 0.20
        ),
    },
}

# Griffin-Lim on a fixed magnitude; 0.99 is librosa's default.
GRIFFIN_LIM_MOMENTUM = 0.99


@dataclass(frozen=True)
class Recipe:
    """One way to run: equal recipes can share a pack."""

    method: str
    """A joint method, or the phase method that follows `inversion`."""
    inversion: str | None
    schedule: Schedule

    @property
    def n_iter(self) -> int:
        return self.schedule.n_iter


def resolve(
    power: int,
    *,
    quality: Quality = DEFAULT_QUALITY,
    method: str | None = None,
    inversion: str | None = None,
    phase: str | None = None,
    n_iter: int | None = None,
    momentum: float | None = None,
) -> Recipe:
    """The recipe that a request's options ask for; `power` is the mel's.

    Naming an `inversion` or a `phase` asks for two stages, naming a joint `method` for one;
    naming both raises Invalid. `n_iter` and `momentum` override what the quality says; between
    the qualities' own iteration counts a joint method's schedule is interpolated.
    """
    two_stage = inversion is not None or phase is not None
    if two_stage and method is not None:
        raise Invalid(
            "method",
            f"{method!r} beside inversion or phase",
            "either a joint method, or an inversion and a phase",
        )
    table = QUALITIES[power]
    n_iter = table[quality].n_iter if n_iter is None else n_iter
    if two_stage:
        level = GRIFFIN_LIM_MOMENTUM if momentum is None else momentum
        return Recipe(
            phase or DEFAULT_PHASE,
            inversion or DEFAULT_INVERSION,
            Schedule(n_iter, Ramp(level, level)),
        )
    schedule = _between(list(table.values()), n_iter)
    if momentum is not None:
        schedule = replace(schedule, momentum=Ramp(momentum, momentum))
    return Recipe(method or DEFAULT_METHOD, None, schedule)


def _between(knots: list[Schedule], n_iter: int) -> Schedule:
    """The schedule for `n_iter`, interpolated over log iterations between its neighbours."""
    below = max((k for k in knots if k.n_iter <= n_iter), key=lambda k: k.n_iter, default=knots[0])
    above = min((k for k in knots if k.n_iter >= n_iter), key=lambda k: k.n_iter, default=knots[-1])
    if below.n_iter < above.n_iter:
        share = math.log(n_iter / below.n_iter) / math.log(above.n_iter / below.n_iter)
        below = below.towards(above, share)
    return replace(below, n_iter=n_iter)
