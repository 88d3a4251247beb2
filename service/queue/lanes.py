"""Lanes: asyncio in front, device threads behind, the queue between."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unmel.models.engine.work import Work
from unmel.service.errors import DeadlineMissed, LaneLost, Overloaded
from unmel.service.ops.metrics import Metrics
from unmel.service.queue.admission import Load, refusal, wait_seconds
from unmel.service.queue.batching import Policy, Waiting
from unmel.service.queue.caution import Caution
from unmel.service.queue.lane import Lane
from unmel.service.queue.packs import Computed, Runs
from unmel.service.queue.progress import Position
from unmel.service.queue.rates import Rates
from unmel.service.queue.tickets import Served, Ticket
from unmel.service.queue.waiting import WaitingRoom

logger = logging.getLogger("unmel.lanes")

# A call of the engine hangs when it takes this many times what it should, and the settings' time.
_PATIENCE = 10.0
# Failed probes in a row after which only a new process can help.
_HOPELESS = 8
# Seconds after which another process is likely to have taken this one's place.
_AWAY = 5.0


@dataclass(frozen=True)
class QueueLimits:
    """What bounds the queue; seconds."""

    max_wait: float
    """A request that would wait longer to be started is refused."""
    deadline: float
    """Of a request that brings none, and the longest that one may bring."""
    hang: float
    """That a call of the engine may take beyond ten times what is expected of it."""


class Lanes:
    """The queue and the lanes that work it off.

    A free lane takes a pack at once; packs form while lanes are busy. `probe` is what a lane
    that was replaced computes before it counts as ready.
    """

    def __init__(
        self,
        engine: Runs,
        policy: Policy,
        limits: QueueLimits,
        *,
        metrics: Metrics | None = None,
        probe: Work | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._limits = engine, limits
        self._metrics = metrics or Metrics()
        self._probe, self._clock = probe, clock
        self._caution, self._rates = Caution(), Rates()
        self._room = WaitingRoom(policy, clock, self._caution)
        self._ids, self._names = itertools.count(1), itertools.count()
        self._lanes = [self._new_lane(proven=True) for _ in range(policy.lanes)]
        self._given_up: list[Lane] = []

    def __repr__(self) -> str:
        at_work = sum(lane.at_work for lane in self._lanes)
        state = ", closing" if self._room.closing else ""
        return (
            f"<Lanes {at_work}/{len(self._lanes)} at work, {self.waiting} waiting, "
            f"cost {self.cost:g}{state}>"
        )

    # --- what is to be seen of them -----------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether every lane works and new requests are taken."""
        return not self._room.closing and all(lane.at_work for lane in self._lanes)

    @property
    def closing(self) -> bool:
        return self._room.closing

    @property
    def hopeless(self) -> bool:
        """Whether only a new process can help: more hung threads than lanes, or a device that
        fails whatever it is given.
        """
        failing = any(lane.failed_probes >= _HOPELESS for lane in self._lanes)
        return failing or self.states["hung"] > len(self._lanes)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._room)

    @property
    def cost(self) -> float:
        """Seconds that one lane would need for the queue."""
        return self._room.seconds

    @property
    def outstanding(self) -> int:
        """Accepted requests that have no outcome yet."""
        with self._room.condition:
            computing = sum(not ticket.gone for lane in self._lanes for ticket in lane.pack)
            return len(self._room) + computing

    @property
    def states(self) -> dict[str, int]:
        """Lanes by state; `hung` are threads that were given up and have not come back."""
        counts = {"starting": 0, "idle": 0, "busy": 0}
        for lane in self._lanes:
            counts[lane.state] += 1
        return {**counts, "hung": sum(lane.alive for lane in self._given_up)}

    def locate(self, ticket: Ticket) -> Position:
        """Where an accepted request stands, and the seconds that it is expected to take still."""
        now, measured = self._clock(), ticket.promised is not None
        elapsed = now - ticket.waiting.arrived
        if ticket.gone:
            return Position("encode", 0, elapsed, 0.0, measured)
        for lane in self._lanes:
            if ticket in lane.pack:
                left = lane.remaining(now) if lane.running else ticket.waiting.seconds
                return Position("compute", 0, elapsed, left, measured)
        before = self._room.before(ticket)
        busy = tuple(lane.remaining(now) for lane in self._lanes if lane.at_work) or (0.0,)
        wait = wait_seconds(Load(busy, sum(other.waiting.seconds for other in before)))
        return Position("queue", len(before), elapsed, wait + ticket.waiting.seconds, measured)

    # --- requests -----------------------------------------------------------------------------

    def knock(self, answer_by: float | None = None) -> None:
        """Raise Overloaded if no request could be taken now that must be answered by then.

        Asked before a body is read: what is refused here has cost nothing.
        """
        now = self._clock()
        self._admit(None, self._bounded(answer_by, now) - now, now)

    async def submit(
        self,
        item: Work,
        answer_by: float | None = None,
        queued: Callable[[Ticket], None] | None = None,
    ) -> Served:
        """Queue an item and wait for what comes of it; `answer_by` is a time of the clock, and
        `queued` is told of its ticket.

        Raises Overloaded when it cannot be answered in time or the lanes are closing,
        DeadlineMissed when that turned out only in the queue, LaneLost when its lane died or
        hung, and what the engine raised for this item. Cancelling takes it out of the queue if
        it is not being computed yet.
        """
        loop = asyncio.get_running_loop()
        now = self._clock()
        answer_by = self._bounded(answer_by, now)
        if answer_by <= now:
            raise DeadlineMissed("The deadline passed before the request was read.")
        estimate = self._rates.estimate(item, now)
        needed = estimate.seconds if estimate.measured else 0.0
        wait = self._admit(needed, answer_by - now, now)
        start_by = answer_by - needed
        seconds = estimate.seconds + self._engine.preparation(item.config)
        waiting = Waiting(next(self._ids), item.key, item.nbytes, seconds, now, start_by)
        promised = wait + seconds if estimate.measured else None
        ticket = Ticket(waiting, item, loop, loop.create_future(), promised)
        self._room.put(ticket)
        if queued is not None:
            queued(ticket)
        # The lanes look at deadlines only when one is free; the client is told in time.
        alarm = loop.call_later(start_by - now, self._room.expire, ticket)
        try:
            return await ticket.future
        finally:
            alarm.cancel()
            self._room.withdraw(ticket)

    def _bounded(self, answer_by: float | None, now: float) -> float:
        latest = now + self._limits.deadline
        return latest if answer_by is None else min(answer_by, latest)

    def _admit(self, seconds: float | None, deadline: float, now: float) -> float:
        """The wait that is expected for a request that may be taken on; else Overloaded."""
        if self._room.closing:
            raise Overloaded("draining", "The service is shutting down.", _AWAY)
        working = [lane for lane in self._lanes if lane.at_work]
        load = Load(tuple(lane.remaining(now) for lane in working), self.cost)
        refused = refusal(load, seconds, deadline, self._limits.max_wait, self._caution.factor)
        if refused is not None:
            raise refused
        return wait_seconds(load)

    # --- beginning and end --------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        for lane in self._lanes:
            lane.start()

    def drain(self) -> None:
        """Take nothing new; the lanes go on until the queue is empty, and end."""
        self._room.close()

    def close(self, timeout: float) -> None:
        """Drain, and wait for the threads to end."""
        self.drain()
        end = time.monotonic() + timeout
        for lane in self._lanes:
            lane.join(max(0.0, end - time.monotonic()))

    # --- lanes that are lost ------------------------------------------------------------------

    def watch(self) -> None:
        """Replace the lanes whose call of the engine hangs, and any that could not be before."""
        now = self._clock()
        for lane in list(self._lanes):
            if lane.hangs(now):
                logger.error("%s hangs and is given up", lane.name)
                lane.given_up = True
                self._given_up = [*(given for given in self._given_up if given.alive), lane]
                self._replace(lane, "hung")
            elif not lane.alive and not self._room.closing:
                self._replace(lane, "died")

    def lost(self, lane: Lane, error: BaseException) -> None:
        """A lane's thread died."""
        logger.error("%s died", lane.name, exc_info=error)
        self._replace(lane, "died")

    def _replace(self, lane: Lane, cause: str) -> None:
        with self._room.condition:
            if lane not in self._lanes:  # given up before it died
                return
            fresh = self._new_lane(proven=False)
            fresh.start()
            self._lanes[self._lanes.index(lane)] = fresh
        self._metrics.observe_lane_lost(cause)
        for ticket in lane.pack:
            ticket.settle(LaneLost(f"The lane that was computing this {cause}."))

    def _new_lane(self, *, proven: bool) -> Lane:
        name = str(next(self._names))
        return Lane(name, self._engine, self, self._clock, self._probe, proven=proven)

    # --- for the lanes' own threads (see lane.Hub) --------------------------------------------

    def take(self, lane: Lane) -> Sequence[Ticket] | None:
        return self._room.take(lambda: not lane.given_up, lane.seat)

    def pause(self, lane: Lane, seconds: float) -> bool:
        return self._room.pause(seconds) and not lane.given_up

    def expect(self, tickets: Sequence[Ticket]) -> tuple[float, float]:
        expected = sum(ticket.waiting.seconds for ticket in tickets)
        return expected, self._limits.hang + _PATIENCE * expected

    def deliver(self, tickets: Sequence[Ticket], computed: Computed) -> None:
        items = [ticket.item for ticket in tickets]
        seconds = computed.ended - computed.began
        if computed.warm:
            self._rates.observe(items, seconds, computed.ended)
        self._metrics.observe_pack(items, seconds)
        for ticket, result in zip(tickets, computed.results, strict=True):
            if ticket.promised is not None:
                self._caution.observe(ticket.promised, computed.ended - ticket.waiting.arrived)
            queued = computed.began - ticket.waiting.arrived
            ticket.settle(Served(result, queued, seconds, len(items)))
