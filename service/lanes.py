"""Lanes: asyncio in front, device threads behind, futures between."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.engine import Item, Result
from models.schedule import Ramp, Schedule
from service.batching import Policy, Waiting, decide
from service.problems import DeadlineMissed, Overloaded

logger = logging.getLogger("unmel.lanes")

LANE_NAME = "lane-"

# Cost units (see Item.cost) and the seconds that a lane is taken to need for them before any
# was measured. It weighs like a measurement: one tiny pack says little about a long one.
_PRIOR = (2e7, 0.4)
# Seconds of computing after which a measurement is forgotten, and what a pack counts at least.
_MEMORY_SECONDS = 10.0
_OVERHEAD_SECONDS = 0.01


# Speed does not depend on how many iterations are asked for, nor on their momentum.
_ANY_SCHEDULE = Schedule(0, Ramp(0.0, 0.0))


class Runs(Protocol):
    """What lanes need of an engine."""

    def run(self, items: Sequence[Item]) -> list[Result]: ...


@dataclass(frozen=True, eq=False)
class Served:
    """A result and how it came about."""

    result: Result
    queue_seconds: float
    compute_seconds: float
    pack_items: int


@dataclass(eq=False)
class _Ticket:
    """A request between its coroutine and the lane that computes it."""

    waiting: Waiting
    item: Item
    arrived: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Served] = field(repr=False)

    def settle(self, outcome: Served | Exception) -> None:
        """Hand the outcome to the coroutine, from any thread."""

        def deliver() -> None:
            if self.future.done():  # the client went away
                return
            if isinstance(outcome, Served):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

        try:
            self.loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            logger.warning("request %d had nobody to be delivered to", self.waiting.id)


class Rates:
    """Measured speed of a lane: cost and seconds of the latest packs, by config, methods and
    their parameters.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[float, float]] = {}

    @staticmethod
    def _key(item: Item) -> Hashable:
        return item.config, dataclasses.replace(item.recipe, schedule=_ANY_SCHEDULE)

    def seconds(self, item: Item) -> float:
        """Seconds that a lane is expected to take for an item."""
        cost, seconds = self._seen.get(self._key(item), _PRIOR)
        return item.cost * seconds / cost

    def observe(self, items: Sequence[Item], seconds: float) -> None:
        """Learn from a pack that took `seconds`: a short one counts for little."""
        key = self._key(items[0])
        cost_before, seconds_before = self._seen.pop(key, _PRIOR)
        share = max(0.0, 1.0 - (seconds + _OVERHEAD_SECONDS) / _MEMORY_SECONDS)
        self._seen[key] = (
            cost_before * share + sum(item.cost for item in items),
            seconds_before * share + seconds,
        )
        if len(self._seen) > 1024:  # every client may bring configs of its own
            self._seen.pop(next(iter(self._seen)))


class Lanes:
    """The queue and the threads that work it off.

    A free lane takes a pack at once; packs form while lanes are busy. All state is behind one
    condition, held only for the decision, never while computing.
    """

    def __init__(
        self,
        engine: Runs,
        count: int,
        *,
        max_pack_frames: int,
        max_queue_seconds: float,
        deadline_seconds: float,
    ) -> None:
        self._engine = engine
        self._policy = Policy(max_pack_frames, count)
        self._max_queue_seconds = max_queue_seconds
        self._deadline_seconds = deadline_seconds
        self._condition = threading.Condition()
        self._queue: list[_Ticket] = []
        self._rates = Rates()
        self._ids = itertools.count(1)
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{LANE_NAME}{n}", daemon=True)
            for n in range(count)
        ]

    def __repr__(self) -> str:
        alive = sum(thread.is_alive() for thread in self._threads)
        state = ", closing" if self._closing else ""
        return f"<Lanes {alive}/{len(self._threads)} alive, {len(self._queue)} waiting{state}>"

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether every lane works and new requests are taken."""
        return not self._closing and all(thread.is_alive() for thread in self._threads)

    async def submit(self, item: Item) -> Served:
        """Queue an item and wait for what comes of it.

        Raises Overloaded when the queue is full or the lanes are closing, DeadlineMissed when it
        waited too long, and what the engine raised for this item. Cancelling takes it out of
        the queue if it is not being computed yet.
        """
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        with self._condition:
            self._admit()
            waiting = Waiting(
                next(self._ids), item.key, item.rows, item.cost, now + self._deadline_seconds
            )
            ticket = _Ticket(waiting, item, now, loop, loop.create_future())
            self._queue.append(ticket)
            self._condition.notify()
        # The lanes look at deadlines only when one is free; the client is told in time.
        alarm = loop.call_later(self._deadline_seconds, self._expire, ticket)
        try:
            return await ticket.future
        finally:
            alarm.cancel()
            if not ticket.future.done() or ticket.future.cancelled():
                self._withdraw(ticket)

    def _withdraw(self, ticket: _Ticket) -> bool:
        """Take a ticket out of the queue; False if it is not there any more."""
        with self._condition:
            if ticket not in self._queue:
                return False
            self._queue.remove(ticket)
            return True

    def _expire(self, ticket: _Ticket) -> None:
        if self._withdraw(ticket):
            ticket.settle(self._missed())

    def _missed(self) -> DeadlineMissed:
        return DeadlineMissed(
            f"The request waited {self._deadline_seconds:g} s, its deadline, and was not computed."
        )

    def _admit(self) -> None:
        """Refuse while the condition is held, if more work would wait than is allowed."""
        if self._closing:
            raise Overloaded("The service is shutting down.", 5.0)
        waiting = sum(self._rates.seconds(t.item) for t in self._queue) / self._policy.lanes
        limit = min(self._max_queue_seconds, self._deadline_seconds)
        if waiting > limit:
            raise Overloaded(
                f"About {waiting:.0f} s of work is waiting; at most {limit:.0f} s is taken on.",
                waiting - limit,
            )

    def close(self, timeout: float) -> None:
        """Take nothing new, finish what was accepted, and end the threads."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        end = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))

    # --- the lanes' own threads -------------------------------------------------------------

    def _work(self) -> None:
        while (pack := self._take()) is not None:
            self._compute(pack)

    def _take(self) -> list[_Ticket] | None:
        """Wait for a pack; None when the lanes close and nothing is left."""
        with self._condition:
            while True:
                decision = decide(
                    [ticket.waiting for ticket in self._queue], time.monotonic(), self._policy
                )
                tickets = {ticket.waiting.id: ticket for ticket in self._queue}
                self._queue = [tickets[w.id] for w in decision.rest]
                for w in decision.expired:
                    tickets[w.id].settle(self._missed())
                if decision.pack:
                    return [tickets[w.id] for w in decision.pack]
                if self._closing:
                    return None
                self._condition.wait()

    def _compute(self, pack: list[_Ticket]) -> None:
        """Run a pack; if it fails, its items one by one, so that only the guilty one fails."""
        began = time.monotonic()
        try:
            results = self._engine.run([ticket.item for ticket in pack])
        except Exception as error:  # whatever it is, it is the request's answer, not the lane's end
            if len(pack) == 1:
                pack[0].settle(error)
                return
            logger.exception("a pack of %d failed; its items are run one by one", len(pack))
            for ticket in pack:
                self._compute([ticket])
            return
        seconds = time.monotonic() - began
        with self._condition:
            self._rates.observe([ticket.item for ticket in pack], seconds)
        logger.info(
            "pack items=%d frames=%d method=%s n_iter=%d seconds=%.3f",
            len(pack),
            sum(ticket.item.frames for ticket in pack),
            pack[0].item.recipe.method,
            pack[0].item.recipe.n_iter,
            seconds,
        )
        for ticket, result in zip(pack, results, strict=True):
            ticket.settle(Served(result, began - ticket.arrived, seconds, len(pack)))
