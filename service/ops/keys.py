"""API keys: parsing, comparison, and the paths that need none."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from unmel.service.errors import Unauthorized

SHORTEST_KEY = 16
_PLAIN_KEY = re.compile(rf"[\x21-\x2b\x2d-\x7e]{{{SHORTEST_KEY},512}}")

STATIC = "/static/"
"""Prefix of the page's files, which are public."""

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths for browsers and health probes, which have no key."""
OPEN_METHODS = frozenset({"ServerLive", "ServerReady"})
"""The same of gRPC's methods."""


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN_PATHS or path.startswith(STATIC)


def split_keys(text: str) -> tuple[str, ...]:
    """Split a text into keys.

    Parameters
    ----------
    text
        Keys separated by commas or line breaks.

    Raises
    ------
    ValueError
        A key is too short to be safe, too long, or has other characters than plain ones.

    """
    keys = tuple(key for key in (part.strip() for part in re.split(r"[,\n]", text)) if key)
    if not all(_PLAIN_KEY.fullmatch(key) for key in keys):
        raise ValueError(f"a key has {SHORTEST_KEY} to 512 plain characters, none of them a comma")
    return keys


class Keys:
    """Valid keys, stored as digests so that a comparison takes constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, authorization: bytes | None) -> None:
        """Check an Authorization header.

        Parameters
        ----------
        authorization
            Value of the header; None if it is missing.

        Raises
        ------
        Unauthorized
            The value is not `Bearer` and a valid key.

        """
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized(given=False)
        given = _digest(key.strip())
        # Every digest is compared, so that the time does not reveal which one matched.
        if not sum(hmac.compare_digest(given, digest) for digest in self._digests):
            raise Unauthorized(given=True)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
