"""How many streams there may be at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unmel.service.errors import Overloaded

_RETRY_SECONDS = 5.0


class Seats:
    """Places for streams. For one thread: the event loop's."""

    def __init__(self, count: int) -> None:
        self.count, self.taken = count, 0

    @contextmanager
    def seat(self) -> Iterator[None]:
        """A place for one stream, until its block ends; Overloaded if there is none."""
        if self.taken >= self.count:
            raise Overloaded(
                "streams", f"{self.taken} streams are open, the most allowed.", _RETRY_SECONDS
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
