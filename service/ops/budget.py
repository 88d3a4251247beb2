"""Bytes that requests hold together, bounded: bodies, mels, answers."""

from __future__ import annotations

from types import TracebackType

from unmel.service.errors import Overloaded

_RETRY_SECONDS = 1.0


class Budget:
    """What all requests may hold at once. For one thread: the event loop's."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    def hold(self) -> Hold:
        """A request's share, nothing at first; given back when its block ends."""
        return Hold(self)


class Hold:
    """What one request holds."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._bytes = budget, 0

    def set(self, nbytes: int) -> None:
        """Hold so many bytes from now on; Overloaded if all requests together may not.

        A request that is alone may hold what it needs: the limits on single requests bound it.
        """
        more = nbytes - self._bytes
        others = self._budget.held - self._bytes
        if more > 0 and others and others + nbytes > self._budget.max_bytes:
            raise Overloaded(
                "memory",
                f"The requests that are being served hold {self._budget.held} bytes; with "
                f"{more} more they would hold over {self._budget.max_bytes}.",
                _RETRY_SECONDS,
            )
        self._budget.held += more
        self._bytes = nbytes

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.set(0)
