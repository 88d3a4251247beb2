"""How fast the lanes are: measured from the latest packs, by config and method."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from unmel.models.engine.work import Work

# Seconds of computing after which a measurement is forgotten, and what a pack counts at least.
_MEMORY_SECONDS = 10.0
_OVERHEAD_SECONDS = 0.01
# Seconds after which nobody is refused by a measurement any more: were it wrong, nothing would
# come to mend it.
_STALE_SECONDS = 60.0
_MOST_KINDS = 1024


@dataclass(frozen=True)
class Estimate:
    """What a lane is expected to take for an item."""

    seconds: float
    measured: bool
    """Whether items of its kind have been seen lately; if not, this is a guess."""


@dataclass(frozen=True)
class _Seen:
    """Cost units (see Item.cost) and the seconds that they took."""

    cost: float
    seconds: float
    at: float

    def then(self, cost: float, seconds: float, now: float) -> _Seen:
        """With a pack that took `seconds`: the shorter it was, the less is forgotten for it."""
        kept = max(0.0, 1.0 - (seconds + _OVERHEAD_SECONDS) / _MEMORY_SECONDS)
        return _Seen(self.cost * kept + cost, self.seconds * kept + seconds, now)

    def weighing(self, seconds: float) -> _Seen:
        """The same speed, weighing as much as so many seconds."""
        return _Seen(self.cost * seconds / self.seconds, seconds, self.at)


# What a lane is taken to be capable of before anything was measured.
_GUESS = _Seen(2e7, 0.4, float("-inf"))
# What a guess weighs, in seconds of measurement: one tiny pack says little about a long one.
_GUESS_SECONDS = 0.4


class Rates:
    """Measured speed of a lane: cost and seconds of the latest packs of each kind.

    Safe between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_kind: dict[Hashable, _Seen] = {}
        self._overall = _GUESS

    def estimate(self, item: Work, now: float) -> Estimate:
        """Seconds that a lane takes for an item; what was never seen is taken for average."""
        with self._lock:
            seen = self._by_kind.get(item.speed_key)
            measured = seen is not None and now - seen.at < _STALE_SECONDS
            seen = seen or self._overall
        return Estimate(item.cost * seen.seconds / seen.cost, measured)

    def observe(self, items: Sequence[Work], seconds: float, now: float) -> None:
        """Learn from a pack that took `seconds`."""
        kind, cost = items[0].speed_key, sum(item.cost for item in items)
        with self._lock:
            before = self._by_kind.pop(kind, None) or self._overall.weighing(_GUESS_SECONDS)
            self._by_kind[kind] = before.then(cost, seconds, now)
            self._overall = self._overall.then(cost, seconds, now)
            if len(self._by_kind) > _MOST_KINDS:  # every client may bring configs of its own
                self._by_kind.pop(next(iter(self._by_kind)))
