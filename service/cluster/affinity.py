"""Which config a request names in its query, and which ones were served lately.

A replica that has served a config has its plan. Configs are told apart by their text, so that a
router need not read them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from urllib.parse import parse_qs

_MOST = 256


def config_mark(query: bytes) -> str | None:
    """A short name of the config in a query string; None where it is in the body."""
    values = parse_qs(query.decode("latin-1")).get("config")
    return hashlib.sha256(values[-1].encode()).hexdigest()[:16] if values else None


class Recent:
    """The marks that came last, at most so many."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._marks: OrderedDict[str, None] = OrderedDict()

    def note(self, mark: str) -> None:
        self._marks[mark] = None
        self._marks.move_to_end(mark)
        if len(self._marks) > self._most:
            self._marks.popitem(last=False)

    @property
    def marks(self) -> list[str]:
        """The latest last."""
        return list(self._marks)
