"""How far estimates of time can be trusted: a factor that answers keep within nearly always."""

from __future__ import annotations

_MOST = 4.0
# Answers that may take longer than the factor allows, and the step by which one that does raises
# it. The others lower it by as much as makes up for it at that share (Robbins and Monro, 1951).
_SHARE = 0.05
_STEP = 0.02
# Seconds that any answer may take beyond its estimate: threads change, clients send.
_GRACE = 0.05


class Caution:
    """The factor by which time estimates are taken to be short, learnt from their outcomes.

    An admission that picks by estimates favours those that are too low, machines are shared, and
    packs delay their own: what was promised is kept only with room to spare. Threads may observe
    at once; that one of two answers is then not counted does no harm.
    """

    def __init__(self) -> None:
        self.factor = 1.0

    def observe(self, estimate: float, actual: float) -> None:
        """An answer that was expected to take `estimate` seconds took `actual`."""
        if actual > self.factor * estimate + _GRACE:
            self.factor = min(self.factor * (1 + _STEP), _MOST)
        else:
            self.factor = max(self.factor * (1 - _STEP * _SHARE / (1 - _SHARE)), 1.0)
