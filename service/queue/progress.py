"""How far requests have come, each by its id, while they are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from unmel.service.queue.tickets import Ticket

StageName = Literal["unknown", "decode", "queue", "compute", "encode"]


@dataclass(frozen=True)
class Position:
    """Where a request stands. The stages are those of `Server-Timing`."""

    stage: StageName
    ahead: int = 0
    """Requests in the queue that came before it."""
    elapsed: float | None = None
    """Seconds since it came to the queue."""
    remaining: float | None = None
    """Estimated seconds until it is computed; 0 where it takes longer than was expected."""
    measured: bool = False
    """Whether the estimate rests on requests of its kind that were computed lately."""


@dataclass(eq=False)
class Followed:
    """A request and, once it has been queued, its ticket."""

    ticket: Ticket | None = None

    def queued(self, ticket: Ticket) -> None:
        self.ticket = ticket


class Following:
    """The requests that are being served. Used on the event loop alone.

    `locate` says where a ticket stands (`Lanes.locate`).
    """

    def __init__(self, locate: Callable[[Ticket], Position]) -> None:
        self._locate = locate
        self._by_id: dict[str, Followed] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @contextmanager
    def follow(self, request_id: str) -> Iterator[Followed]:
        """Let a request be found while it is served; of two with one id the later is."""
        self._by_id[request_id] = followed = Followed()
        try:
            yield followed
        finally:
            if self._by_id.get(request_id) is followed:
                del self._by_id[request_id]

    def position(self, request_id: str) -> Position:
        """Where a request stands; `unknown` before it came, after it was answered, and where
        another replica has it.
        """
        followed = self._by_id.get(request_id)
        if followed is None:
            return Position("unknown")
        if followed.ticket is None:
            return Position("decode")
        return self._locate(followed.ticket)
