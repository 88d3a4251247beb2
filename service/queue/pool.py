"""The pool of lanes: threads that compute, replaced when they die or hang."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unmel.service.errors import LaneLost
from unmel.service.ops.metrics import Metrics
from unmel.service.queue.lane import Lane
from unmel.service.queue.packs import Deliver, PackEngine, PackResults
from unmel.service.queue.tickets import Ticket
from unmel.service.queue.waiting import WaitingQueue

if TYPE_CHECKING:  # the engine loads torch
    from unmel.models.engine import Work

logger = logging.getLogger("unmel.lanes")

# A call of the engine hangs when it exceeds this multiple of its estimate plus the setting.
_HANG_FACTOR = 10.0
# Failed probes in a row after which only a new process can help.
_MAX_FAILED_PROBES = 8


class LanePool:
    """A fixed number of lanes that take packs from one queue (see `lane.Dispatcher`).

    Parameters
    ----------
    engine
        Computes packs.
    queue
        Source of packs.
    count
        Number of lanes.
    hang_seconds
        Time that a call may take beyond ten times its estimate.
    deliver
        Settles tickets with their results.
    metrics
        Counts lost lanes.
    probe
        Item that a replaced lane computes before it counts as ready.
    clock
        Current time, seconds.

    """

    def __init__(
        self,
        engine: PackEngine,
        queue: WaitingQueue,
        count: int,
        *,
        hang_seconds: float,
        deliver: Deliver,
        metrics: Metrics,
        probe: Work | None,
        clock: Callable[[], float],
    ) -> None:
        self._engine, self._queue, self._hang_seconds = engine, queue, hang_seconds
        self._deliver, self._metrics = deliver, metrics
        self._probe, self._clock = probe, clock
        self._names = itertools.count()
        self.lanes = [self._new_lane(proven=True) for _ in range(count)]
        self._abandoned: list[Lane] = []

    def __len__(self) -> int:
        return len(self.lanes)

    @property
    def working(self) -> Sequence[Lane]:
        """Lanes that compute packs."""
        return [lane for lane in self.lanes if lane.working]

    @property
    def needs_restart(self) -> bool:
        """Whether only a new process can help.

        There are more hung threads than lanes, or the device fails every probe.
        """
        failing = any(lane.failed_probes >= _MAX_FAILED_PROBES for lane in self.lanes)
        return failing or self.states["hung"] > len(self.lanes)

    @property
    def states(self) -> dict[str, int]:
        """Lanes by state; `hung` counts the abandoned threads that still run."""
        counts = {"starting": 0, "idle": 0, "busy": 0}
        for lane in self.lanes:
            counts[lane.state] += 1
        return {**counts, "hung": sum(lane.alive for lane in self._abandoned)}

    @property
    def computing(self) -> int:
        """Requests in lanes that have no outcome yet."""
        return sum(not ticket.done for lane in self.lanes for ticket in lane.pack)

    def busy(self, now: float) -> tuple[float, ...]:
        """Estimated seconds until each working lane is free; `now` is a time of the clock."""
        return tuple(lane.remaining(now) for lane in self.working)

    def lane_of(self, ticket: Ticket) -> Lane | None:
        """Lane that computes a ticket; None if no lane does."""
        return next((lane for lane in self.lanes if ticket in lane.pack), None)

    def start(self) -> None:
        """Start the threads."""
        for lane in self.lanes:
            lane.start()

    def join(self, timeout: float) -> None:
        """Wait for the threads to end, at most `timeout` seconds."""
        end = time.monotonic() + timeout
        for lane in self.lanes:
            lane.join(max(0.0, end - time.monotonic()))

    def watch(self) -> None:
        """Replace lanes that hang, and dead ones that could not be replaced before."""
        now = self._clock()
        for lane in list(self.lanes):
            if lane.hangs(now):
                logger.error("%s hangs and is abandoned", lane.name)
                lane.abandoned = True
                self._abandoned = [*(one for one in self._abandoned if one.alive), lane]
                self._replace(lane, "hung")
            elif not lane.alive and not self._queue.closing:
                self._replace(lane, "died")

    def _replace(self, lane: Lane, cause: str) -> None:
        with self._queue.condition:
            if lane not in self.lanes:  # it was abandoned before it died
                return
            fresh = self._new_lane(proven=False)
            fresh.start()
            self.lanes[self.lanes.index(lane)] = fresh
        self._metrics.observe_lane_lost(cause)
        for ticket in lane.pack:
            ticket.settle(LaneLost(f"The lane that computed this request {cause}."))

    def _new_lane(self, *, proven: bool) -> Lane:
        name = str(next(self._names))
        return Lane(name, self._engine, self, self._clock, self._probe, proven=proven)

    # --- called by the lanes' own threads ------------------------------------------------------

    def take(self, lane: Lane) -> Sequence[Ticket] | None:
        """Wait for a pack and assign it to the lane; None when there will be no more."""
        return self._queue.take(lambda: not lane.abandoned, lane.assign)

    def pause(self, lane: Lane, seconds: float) -> bool:
        """Wait; False if the lane is no longer needed."""
        return self._queue.pause(seconds) and not lane.abandoned

    def time_limits(self, tickets: Sequence[Ticket]) -> tuple[float, float]:
        """Expected seconds of a call, and seconds after which it counts as hung."""
        expected = sum(ticket.waiting.seconds for ticket in tickets)
        return expected, self._hang_seconds + _HANG_FACTOR * expected

    def deliver(self, tickets: Sequence[Ticket], computed: PackResults) -> None:
        """Settle tickets with the results of a call."""
        self._deliver(tickets, computed)

    def lost(self, lane: Lane, error: BaseException) -> None:
        """Replace a lane whose thread ends by an exception."""
        logger.error("%s died", lane.name, exc_info=error)
        self._replace(lane, "died")
