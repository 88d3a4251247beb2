"""Lanes: admission on the event loop, computation on lane threads, the queue between them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unmel.service.errors import DeadlineMissed, Overloaded
from unmel.service.ops.metrics import Metrics
from unmel.service.queue.admission import Load, refusal, wait_seconds
from unmel.service.queue.batching import Policy, Waiting
from unmel.service.queue.estimates import EstimateMargin, SpeedEstimator
from unmel.service.queue.packs import PackEngine, PackResults
from unmel.service.queue.pool import LanePool
from unmel.service.queue.progress import Position
from unmel.service.queue.tickets import Served, Ticket, settle_all
from unmel.service.queue.waiting import WaitingQueue

if TYPE_CHECKING:  # the engine loads torch
    from unmel.models.engine import Work

RESTART_SECONDS = 5.0
"""Time after which another process is likely to have replaced this one."""


@dataclass(frozen=True)
class QueueLimits:
    """Time limits of the queue, seconds."""

    max_wait: float
    """Longest estimated wait before a request starts."""
    deadline: float
    """Default deadline, and upper bound of X-Deadline-Ms."""
    hang: float
    """Time that a call of the engine may take beyond ten times its estimate."""


class Lanes:
    """The queue and the lanes that empty it.

    A free lane takes a pack at once; packs form while lanes are busy.

    Parameters
    ----------
    engine
        Computes packs.
    policy
        Bounds of a pack, and the number of lanes.
    limits
        Time limits of the queue.
    metrics
        Counts packs and lost lanes.
    probe
        Item that a replaced lane computes before it counts as ready.
    clock
        Current time, seconds.

    """

    def __init__(
        self,
        engine: PackEngine,
        policy: Policy,
        limits: QueueLimits,
        *,
        metrics: Metrics | None = None,
        probe: Work | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._limits, self._clock = engine, limits, clock
        self._metrics = metrics or Metrics()
        self._margin, self._speed = EstimateMargin(), SpeedEstimator()
        self._ids = itertools.count(1)
        self._queue = WaitingQueue(policy, clock, self._margin)
        self._pool = LanePool(
            engine,
            self._queue,
            policy.lanes,
            hang_seconds=limits.hang,
            deliver=self._deliver,
            metrics=self._metrics,
            probe=probe,
            clock=clock,
        )

    def __repr__(self) -> str:
        state = ", closing" if self._queue.closing else ""
        return (
            f"<Lanes {len(self._pool.working)}/{len(self._pool)} working, {self.waiting} waiting, "
            f"{self.queued_seconds:g} s queued{state}>"
        )

    # --- state ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether every lane works and requests are accepted."""
        return not self._queue.closing and len(self._pool.working) == len(self._pool)

    @property
    def closing(self) -> bool:
        """Whether no more requests are accepted."""
        return self._queue.closing

    @property
    def needs_restart(self) -> bool:
        """Whether only a new process can help."""
        return self._pool.needs_restart

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def queued_seconds(self) -> float:
        """Seconds that one lane needs for the queue."""
        return self._queue.seconds

    @property
    def outstanding(self) -> int:
        """Accepted requests that have no outcome yet."""
        with self._queue.condition:
            return len(self._queue) + self._pool.computing

    @property
    def states(self) -> dict[str, int]:
        """Lanes by state; `hung` counts the abandoned threads that still run."""
        return self._pool.states

    def locate(self, ticket: Ticket) -> Position:
        """Find an accepted request: its stage, and the estimated time that it still takes."""
        now, measured = self._clock(), ticket.expected_seconds is not None
        elapsed = now - ticket.waiting.arrived
        if ticket.done:
            return Position("encode", 0, elapsed, 0.0, measured)
        lane = self._pool.lane_of(ticket)
        if lane is not None:
            left = lane.remaining(now) if lane.running else ticket.waiting.seconds
            return Position("compute", 0, elapsed, left, measured)
        ahead = self._queue.ahead_of(ticket)
        busy = self._pool.busy(now) or (0.0,)
        wait = wait_seconds(Load(busy, sum(other.waiting.seconds for other in ahead)))
        return Position("queue", len(ahead), elapsed, wait + ticket.waiting.seconds, measured)

    # --- requests -------------------------------------------------------------------------------

    def check_admission(self, answer_by: float | None = None) -> None:
        """Refuse a request before its body is read, so that a refusal costs nothing.

        Parameters
        ----------
        answer_by
            Deadline, a time of the clock; None for the default one.

        Raises
        ------
        Overloaded
            No request with this deadline can be accepted now.

        """
        now = self._clock()
        self._admit(0.0, self._bounded(answer_by, now) - now, now)

    async def submit(
        self,
        item: Work,
        answer_by: float | None = None,
        queued: Callable[[Ticket], None] | None = None,
    ) -> Served:
        """Queue an item and wait for its result.

        Cancelling removes it from the queue unless it is already being computed.

        Parameters
        ----------
        item
            Work for the engine.
        answer_by
            Deadline, a time of the clock; None for the default one.
        queued
            Called with the ticket when it is in the queue.

        Raises
        ------
        Overloaded
            The deadline cannot be met, the queue is full, or the lanes are closing.
        DeadlineMissed
            The deadline passed in the queue.
        LaneLost
            The lane died or hung.
        Exception
            Any exception of the engine for this item.

        """
        loop = asyncio.get_running_loop()
        now = self._clock()
        answer_by = self._bounded(answer_by, now)
        if answer_by <= now:
            raise DeadlineMissed("The deadline passed before the request was read.")
        estimate = self._speed.estimate(item, now)
        needed = estimate.seconds if estimate.measured else 0.0
        wait = self._admit(needed, answer_by - now, now)
        start_by = answer_by - needed
        seconds = estimate.seconds + self._engine.preparation(item.config)
        waiting = Waiting(next(self._ids), item.key, item.nbytes, seconds, now, start_by)
        expected = wait + seconds if estimate.measured else None
        ticket = Ticket(waiting, item, loop, loop.create_future(), expected)
        self._queue.put(ticket)
        if queued is not None:
            queued(ticket)
        # Lanes check deadlines only when one is free; the alarm answers the client in time.
        alarm = loop.call_later(start_by - now, self._queue.expire, ticket)
        try:
            return await ticket.future
        finally:
            alarm.cancel()
            self._queue.withdraw(ticket)

    def _bounded(self, answer_by: float | None, now: float) -> float:
        latest = now + self._limits.deadline
        return latest if answer_by is None else min(answer_by, latest)

    def _admit(self, seconds: float, deadline: float, now: float) -> float:
        """The estimated wait of an accepted request; Overloaded for a refused one."""
        if self._queue.closing:
            raise Overloaded("draining", "The service is shutting down.", RESTART_SECONDS)
        load = Load(self._pool.busy(now), self.queued_seconds)
        refused = refusal(load, seconds, deadline, self._limits.max_wait, self._margin.factor)
        if refused is not None:
            raise refused
        return wait_seconds(load)

    def _deliver(self, tickets: Sequence[Ticket], computed: PackResults) -> None:
        """Settle tickets with their results, and learn from the times."""
        items = [ticket.item for ticket in tickets]
        seconds = computed.ended - computed.began
        if computed.warm:
            self._speed.observe(items, seconds, computed.ended)
        self._metrics.observe_pack(items, seconds)
        outcomes = []
        for ticket, result in zip(tickets, computed.results, strict=True):
            arrived = ticket.waiting.arrived
            if ticket.expected_seconds is not None:
                self._margin.observe(ticket.expected_seconds, computed.ended - arrived)
            served = Served(result, computed.began - arrived, seconds, len(items))
            outcomes.append((ticket, served))
        settle_all(outcomes)

    # --- life of the lanes ----------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()

    def watch(self) -> None:
        """Replace lanes that hang or died; call it regularly."""
        self._pool.watch()

    def drain(self) -> None:
        """Accept no more requests; the lanes empty the queue and end."""
        self._queue.close()

    def close(self, timeout: float) -> None:
        """Drain, and wait for the threads to end, at most `timeout` seconds."""
        self.drain()
        self._pool.join(timeout)
