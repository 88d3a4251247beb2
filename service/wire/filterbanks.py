"""Filterbanks that clients sent, held by their digest, so that later requests can name them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from unmel.models.errors import Invalid
from unmel.service.errors import NotFound
from unmel.service.wire.problems import brief

if TYPE_CHECKING:  # it loads torch
    from unmel.models.mel import OwnFilterbank

FIELD = "config.filterbank"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class HeldFilterbanks:
    """Filterbanks of answered requests, bounded in bytes; the least recently used is dropped.

    Safe between threads. Every process has its own.

    Parameters
    ----------
    max_bytes
        Upper bound of the sum; a larger filterbank is not held.

    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._nbytes = max_bytes, 0
        self._held: OrderedDict[str, OwnFilterbank] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all that are held."""
        return self._nbytes

    def hold(self, bank: OwnFilterbank) -> None:
        """Hold a filterbank, or note that it was used."""
        if bank.nbytes > self._max_bytes:
            return
        with self._lock:
            if bank.digest not in self._held:
                self._held[bank.digest] = bank
                self._nbytes += bank.nbytes
            self._held.move_to_end(bank.digest)
            while self._nbytes > self._max_bytes:
                self._nbytes -= self._held.popitem(last=False)[1].nbytes

    def find(self, digest: str) -> OwnFilterbank:
        """The filterbank of a digest.

        Raises
        ------
        Invalid
            The text is no digest; NotFound where no filterbank of it is held.

        """
        digest = digest.lower()
        if not _DIGEST.fullmatch(digest):
            raise Invalid(FIELD, brief(digest), "an array, or 'sha256:' and 64 hexadecimal digits")
        with self._lock:
            if digest not in self._held:
                want = "the array itself: it is not held here, or no longer; send it again"
                raise NotFound(FIELD, digest, want)
            self._held.move_to_end(digest)
            return self._held[digest]
