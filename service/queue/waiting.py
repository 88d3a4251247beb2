"""The requests that were accepted and no lane has taken yet, behind one condition."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from unmel.service.queue.batching import Policy, decide
from unmel.service.queue.caution import Caution
from unmel.service.queue.tickets import Ticket


class WaitingRoom:
    """Tickets put in by the event loop and taken out in packs by the lanes' threads.

    The condition is held only for the decision, never while computing.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float], caution: Caution) -> None:
        self._policy, self._clock, self._caution = policy, clock, caution
        self._tickets: list[Ticket] = []
        self.condition = threading.Condition()
        self.closing = False

    def __len__(self) -> int:
        return len(self._tickets)

    @property
    def seconds(self) -> float:
        """What one lane would need for all that waits."""
        return sum(ticket.waiting.seconds for ticket in tuple(self._tickets))

    def before(self, ticket: Ticket) -> Sequence[Ticket]:
        """Those that came before a ticket and still wait."""
        return [t for t in tuple(self._tickets) if t.waiting.id < ticket.waiting.id]

    def put(self, ticket: Ticket) -> None:
        with self.condition:
            self._tickets.append(ticket)
            self.condition.notify()

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a ticket out; False if it is not there any more."""
        with self.condition:
            if ticket not in self._tickets:
                return False
            self._tickets.remove(ticket)
            return True

    def expire(self, ticket: Ticket) -> None:
        """Take a ticket out, if it is still there, as one that has missed its deadline."""
        if self.withdraw(ticket):
            self._miss(ticket, self._clock())

    def _miss(self, ticket: Ticket, now: float) -> None:
        if ticket.promised is not None:
            self._caution.observe(ticket.promised, math.inf)
        ticket.miss(now)

    def close(self) -> None:
        """Let the lanes go once nothing waits any more."""
        with self.condition:
            self.closing = True
            self.condition.notify_all()

    def take(
        self, wanted: Callable[[], bool], seat: Callable[[Sequence[Ticket]], None]
    ) -> Sequence[Ticket] | None:
        """Wait for a pack; None when it is not wanted any more, or closed and empty.

        `seat` is told of the pack before anybody can see that it has left the queue.
        """
        with self.condition:
            while wanted():
                now = self._clock()
                policy = replace(self._policy, linger=0.0) if self.closing else self._policy
                decision = decide([ticket.waiting for ticket in self._tickets], now, policy)
                tickets = {ticket.waiting.id: ticket for ticket in self._tickets}
                self._tickets = [tickets[w.id] for w in decision.rest]
                for w in decision.expired:
                    self._miss(tickets[w.id], now)
                if decision.pack:
                    pack = [tickets[w.id] for w in decision.pack]
                    seat(pack)
                    return pack
                if self.closing:
                    break
                again = decision.look_again
                self.condition.wait(None if again is None else max(0.0, again - now))
            return None

    def pause(self, seconds: float) -> bool:
        """Wait; False as soon as it is closed and empty."""

        def over() -> bool:
            return self.closing and not self._tickets

        with self.condition:
            return not self.condition.wait_for(over, seconds)
