"""Estimates of time: measured speed of a lane by config and method, and a margin for its error."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the engine loads torch
    from unmel.models.engine import Work

# Seconds of computing after which a measurement has decayed, and the least weight of a pack.
_MEMORY_SECONDS = 10.0
_OVERHEAD_SECONDS = 0.01
# Age after which a measurement refuses no request any more: a wrong one would refuse every
# request that could correct it.
_STALE_SECONDS = 60.0
_MAX_KINDS = 1024


@dataclass(frozen=True)
class Estimate:
    """Expected time of a lane for an item."""

    seconds: float
    measured: bool
    """Whether items of the same kind were measured lately; otherwise this is a guess."""


@dataclass(frozen=True)
class _Speed:
    """Cost units (see Item.cost) and the seconds that they took."""

    cost: float
    seconds: float
    at: float

    def updated(self, cost: float, seconds: float, now: float) -> _Speed:
        """With one more pack; a short pack makes older ones decay less."""
        kept = max(0.0, 1.0 - (seconds + _OVERHEAD_SECONDS) / _MEMORY_SECONDS)
        return _Speed(self.cost * kept + cost, self.seconds * kept + seconds, now)

    def weighted(self, seconds: float) -> _Speed:
        """The same speed with the weight of a measurement of `seconds`."""
        return _Speed(self.cost * seconds / self.seconds, seconds, self.at)


# Assumed speed of a lane before the first measurement.
_GUESS = _Speed(2e7, 0.4, float("-inf"))
# Weight of a guess, in seconds of measurement: one tiny pack says little about a long one.
_GUESS_SECONDS = 0.4


class SpeedEstimator:
    """Speed of a lane, learnt from the latest packs of each kind of item. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_kind: dict[Hashable, _Speed] = {}
        self._overall = _GUESS

    def estimate(self, item: Work, now: float) -> Estimate:
        """Estimate the time that a lane takes for an item.

        Parameters
        ----------
        item
            Work for the engine. A kind that was never measured gets the average speed.
        now
            Time of the clock, seconds.

        """
        with self._lock:
            speed = self._by_kind.get(item.speed_key)
            measured = speed is not None and now - speed.at < _STALE_SECONDS
            speed = speed or self._overall
        return Estimate(item.cost * speed.seconds / speed.cost, measured)

    def observe(self, items: Sequence[Work], seconds: float, now: float) -> None:
        """Learn from a computed pack.

        Parameters
        ----------
        items
            Items of the pack, all of one kind.
        seconds
            Time that the pack took.
        now
            Time of the clock, seconds.

        """
        kind, cost = items[0].speed_key, sum(item.cost for item in items)
        with self._lock:
            before = self._by_kind.pop(kind, None) or self._overall.weighted(_GUESS_SECONDS)
            self._by_kind[kind] = before.updated(cost, seconds, now)
            self._overall = self._overall.updated(cost, seconds, now)
            if len(self._by_kind) > _MAX_KINDS:  # clients may send any number of configs
                self._by_kind.pop(next(iter(self._by_kind)))


_MAX_FACTOR = 4.0
# Share of answers that may exceed the margin, and the relative step by which such an answer raises
# it. Every other answer lowers it, by as much as balances the steps at that share.
_MISS_SHARE = 0.05
_STEP = 0.02
# Seconds that any answer may take beyond its estimate, for threads and the network.
_GRACE = 0.05


class EstimateMargin:
    """Factor by which time estimates are multiplied so that answers nearly always keep to them.

    Admission by estimates favours those that are too low, machines are shared, and packs delay
    their own members; so an estimate holds only with a margin. Threads may observe at once; an
    observation that is lost then does no harm.

    References
    ----------
    H. Robbins and S. Monro, "A stochastic approximation method", 1951.

    """

    def __init__(self) -> None:
        self.factor = 1.0

    def observe(self, estimate: float, actual: float) -> None:
        """Learn from an answer.

        Parameters
        ----------
        estimate
            Seconds that it was expected to take.
        actual
            Seconds that it took.

        """
        if actual > self.factor * estimate + _GRACE:
            self.factor = min(self.factor * (1 + _STEP), _MAX_FACTOR)
        else:
            self.factor = max(self.factor * (1 - _STEP * _MISS_SHARE / (1 - _MISS_SHARE)), 1.0)
