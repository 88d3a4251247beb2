"""An accepted request between the coroutine that waits for it and the lane that computes it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from unmel.models.engine.work import Result, Work
from unmel.service.errors import DeadlineMissed
from unmel.service.queue.batching import Waiting

logger = logging.getLogger("unmel.tickets")


@dataclass(frozen=True, eq=False)
class Served:
    """A result and how it came about."""

    result: Result
    queue_seconds: float
    compute_seconds: float
    """Of the whole pack, whoever else was in it."""
    pack_items: int


@dataclass(eq=False)
class Ticket:
    """An accepted request: what the decision sees, what the engine gets, who waits for it."""

    waiting: Waiting
    item: Work
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Served] = field(repr=False)
    promised: float | None = None
    """Seconds from its arrival after which it was expected to be done; None: nobody knew."""

    @property
    def gone(self) -> bool:
        """Whether nobody waits any more: answered already, or the client went away."""
        return self.future.done()

    def settle(self, outcome: Served | Exception) -> None:
        """Hand the outcome to the coroutine, from any thread; the first one counts."""

        def deliver() -> None:
            if self.future.done():
                return
            if isinstance(outcome, Served):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

        try:
            self.loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            logger.warning("request %d had nobody to be delivered to", self.waiting.id)

    def miss(self, now: float) -> None:
        """Settle it as one whose deadline can no longer be met."""
        self.settle(
            DeadlineMissed(
                f"After {now - self.waiting.arrived:.1f} s in the queue the deadline could not "
                "be met; nothing was computed."
            )
        )
