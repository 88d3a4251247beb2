"""Limits over all requests together: bytes held in memory, and open streams.

Both objects belong to one thread, the event loop's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from unmel.service.errors import Overloaded

_MEMORY_RETRY_SECONDS = 1.0
_STREAM_RETRY_SECONDS = 5.0


class MemoryBudget:
    """Bytes of bodies, mels and answers that all requests may hold together.

    Parameters
    ----------
    max_bytes
        Upper bound of the sum, bytes.

    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    def reserve(self) -> Reservation:
        """Open an empty reservation for one request; use it as a context manager."""
        return Reservation(self)


class Reservation:
    """Bytes that one request holds; they are released when its `with` block ends."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self._bytes = budget, 0

    def resize(self, nbytes: int) -> None:
        """Set the number of bytes that the request holds.

        A request that is alone may hold any number: the limits on single requests bound it.

        Parameters
        ----------
        nbytes
            Bytes held from now on.

        Raises
        ------
        Overloaded
            The budget does not allow it.

        """
        more = nbytes - self._bytes
        others = self._budget.held - self._bytes
        if more > 0 and others and others + nbytes > self._budget.max_bytes:
            raise Overloaded(
                "memory",
                f"The requests in progress hold {self._budget.held} bytes; {more} more would "
                f"exceed the limit of {self._budget.max_bytes}.",
                _MEMORY_RETRY_SECONDS,
            )
        self._budget.held += more
        self._bytes = nbytes

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.resize(0)


class StreamLimit:
    """Number of streams that may be open at once.

    Parameters
    ----------
    max_streams
        Upper bound.

    """

    def __init__(self, max_streams: int) -> None:
        self.max_streams, self.open = max_streams, 0

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Count one stream as open until the block ends.

        Raises
        ------
        Overloaded
            The limit is reached.

        """
        if self.open >= self.max_streams:
            raise Overloaded(
                "streams",
                f"{self.open} streams are open; no more are allowed.",
                _STREAM_RETRY_SECONDS,
            )
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
