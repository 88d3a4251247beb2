"""Ticket: an accepted request between the coroutine that waits for it and a lane's thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unmel.service.errors import DeadlineMissed
from unmel.service.queue.batching import Waiting

if TYPE_CHECKING:  # the engine loads torch
    from unmel.models.engine import Result, Work

logger = logging.getLogger("unmel.tickets")


@dataclass(frozen=True, eq=False)
class Served:
    """A result and the times that led to it."""

    result: Result
    queue_seconds: float
    compute_seconds: float
    """Time of the whole pack."""
    pack_items: int
    """Requests in the pack."""


@dataclass(eq=False)
class Ticket:
    """An accepted request: its properties, its work and the future that waits for it."""

    waiting: Waiting
    item: Work
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Served] = field(repr=False)
    expected_seconds: float | None = None
    """Estimated time from its arrival to its result; None without a measurement."""

    @property
    def done(self) -> bool:
        """Whether it is answered, or its client has left."""
        return self.future.done()

    def settle(self, outcome: Served | Exception) -> None:
        """Hand the outcome to the coroutine, from any thread; only the first one counts."""
        settle_all([(self, outcome)])

    def expire(self, now: float) -> None:
        """Settle it as a missed deadline; `now` is a time of the clock, seconds."""
        self.settle(
            DeadlineMissed(
                f"The deadline passed after {now - self.waiting.arrived:.1f} s in the queue; "
                "nothing was computed."
            )
        )


def settle_all(outcomes: Sequence[tuple[Ticket, Served | Exception]]) -> None:
    """Settle tickets of one event loop, which is woken once for all of them.

    Parameters
    ----------
    outcomes
        Tickets, at least one, each with its outcome.

    """

    def deliver() -> None:
        for ticket, outcome in outcomes:
            if ticket.done:
                continue
            if isinstance(outcome, Served):
                ticket.future.set_result(outcome)
            else:
                ticket.future.set_exception(outcome)

    try:
        outcomes[0][0].loop.call_soon_threadsafe(deliver)
    except RuntimeError:  # the event loop is closed
        for ticket, _ in outcomes:
            logger.warning("request %d was not delivered: the loop is closed", ticket.waiting.id)
