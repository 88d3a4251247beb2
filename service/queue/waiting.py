"""Waiting queue: accepted requests that no lane has taken yet, behind one condition."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from unmel.service.queue.batching import Policy, decide
from unmel.service.queue.estimates import EstimateMargin
from unmel.service.queue.tickets import Ticket


class WaitingQueue:
    """Tickets that the event loop puts in and lane threads take out in packs.

    The condition is held only for the decision, never during a computation.

    Parameters
    ----------
    policy
        Bounds of a pack.
    clock
        Current time, seconds.
    margin
        Learns from deadlines that are missed here.

    """

    def __init__(self, policy: Policy, clock: Callable[[], float], margin: EstimateMargin) -> None:
        self._policy, self._clock, self._margin = policy, clock, margin
        self._tickets: list[Ticket] = []
        # Kept beside the tickets: admission asks for it on the event loop for every request.
        self._seconds = 0.0
        self.condition = threading.Condition()
        self.closing = False

    def __len__(self) -> int:
        return len(self._tickets)

    @property
    def seconds(self) -> float:
        """Seconds that one lane needs for all tickets."""
        return self._seconds

    def ahead_of(self, ticket: Ticket) -> Sequence[Ticket]:
        """Tickets in the queue that came before another one."""
        return [t for t in tuple(self._tickets) if t.waiting.id < ticket.waiting.id]

    def put(self, ticket: Ticket) -> None:
        """Add a ticket and wake the lanes."""
        with self.condition:
            self._tickets.append(ticket)
            self._seconds += ticket.waiting.seconds
            # All of them: a lane that pauses waits too, and would take the only wakeup in vain.
            self.condition.notify_all()

    def withdraw(self, ticket: Ticket) -> bool:
        """Remove a ticket; False if it is not in the queue."""
        with self.condition:
            if ticket not in self._tickets:
                return False
            self._keep([other for other in self._tickets if other is not ticket])
            return True

    def _keep(self, tickets: list[Ticket]) -> None:
        """Replace the tickets; the sum is made anew, so that no rounding adds up."""
        self._tickets = tickets
        self._seconds = sum(ticket.waiting.seconds for ticket in tickets)

    def expire(self, ticket: Ticket) -> None:
        """Remove a ticket, if it is still in the queue, and settle it as a missed deadline."""
        if self.withdraw(ticket):
            self._expire(ticket, self._clock())

    def _expire(self, ticket: Ticket, now: float) -> None:
        if ticket.expected_seconds is not None:
            self._margin.observe(ticket.expected_seconds, math.inf)
        ticket.expire(now)

    def close(self) -> None:
        """Let the lanes end once the queue is empty."""
        with self.condition:
            self.closing = True
            self.condition.notify_all()

    def take(
        self, wanted: Callable[[], bool], assign: Callable[[Sequence[Ticket]], None]
    ) -> Sequence[Ticket] | None:
        """Wait for a pack.

        Parameters
        ----------
        wanted
            Whether the caller still needs a pack.
        assign
            Called with the pack before any thread can see that it has left the queue.

        Returns
        -------
        The pack; None if it is no longer wanted, or if the queue is closing and empty.

        """
        with self.condition:
            while wanted():
                now = self._clock()
                policy = replace(self._policy, linger=0.0) if self.closing else self._policy
                decision = decide([ticket.waiting for ticket in self._tickets], now, policy)
                tickets = {ticket.waiting.id: ticket for ticket in self._tickets}
                self._keep([tickets[w.id] for w in decision.rest])
                for w in decision.expired:
                    self._expire(tickets[w.id], now)
                if decision.pack:
                    pack = [tickets[w.id] for w in decision.pack]
                    assign(pack)
                    return pack
                if self.closing:
                    break
                again = decision.next_decision
                self.condition.wait(None if again is None else max(0.0, again - now))
            return None

    def pause(self, seconds: float) -> bool:
        """Wait; False as soon as the queue is closing and empty."""

        def over() -> bool:
            return self.closing and not self._tickets

        with self.condition:
            return not self.condition.wait_for(over, seconds)
