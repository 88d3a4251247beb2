"""Progress of requests, by request id, while they are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from unmel.service.ops.metrics import Stage
from unmel.service.queue.tickets import Ticket


@dataclass(frozen=True)
class Position:
    """Stage of a request, and its times."""

    stage: Stage | Literal["unknown"]
    ahead: int = 0
    """Requests in the queue that came before it."""
    elapsed: float | None = None
    """Seconds since it entered the queue."""
    remaining: float | None = None
    """Estimated seconds until it is computed; 0 if it takes longer than expected."""
    measured: bool = False
    """Whether the estimate rests on recent requests of the same kind."""


@dataclass(eq=False)
class TrackedRequest:
    """A request in progress and, once it is queued, its ticket."""

    ticket: Ticket | None = None

    def queued(self, ticket: Ticket) -> None:
        """Note the ticket of the request."""
        self.ticket = ticket


class ProgressTracker:
    """Requests in progress. For one thread: the event loop's.

    Parameters
    ----------
    locate
        Gives the position of a ticket (`Lanes.locate`).

    """

    def __init__(self, locate: Callable[[Ticket], Position]) -> None:
        self._locate = locate
        self._by_id: dict[str, TrackedRequest] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @contextmanager
    def track(self, request_id: str) -> Iterator[TrackedRequest]:
        """Make a request visible until the block ends; of two with one id, the later one."""
        self._by_id[request_id] = tracked = TrackedRequest()
        try:
            yield tracked
        finally:
            if self._by_id.get(request_id) is tracked:
                del self._by_id[request_id]

    def position(self, request_id: str) -> Position:
        """Find a request.

        Parameters
        ----------
        request_id
            Value of its X-Request-ID.

        Returns
        -------
        Its position; stage `unknown` before its arrival, after its answer, and for a request at
        another replica.

        """
        tracked = self._by_id.get(request_id)
        if tracked is None:
            return Position("unknown")
        if tracked.ticket is None:
            return Position("decode")
        return self._locate(tracked.ticket)
