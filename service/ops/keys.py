"""API keys: who may use the service, where it asks for one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from unmel.service.errors import Unauthorized

SHORTEST_KEY = 16
_PLAIN_KEY = re.compile(rf"[\x21-\x2b\x2d-\x7e]{{{SHORTEST_KEY},512}}")

STATIC = "/static/"
"""Where the page's own files are, which hold nothing that a key would guard."""

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Asked by browsers for the page, and by whoever keeps the process alive: they have no key."""


def is_open(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in OPEN_PATHS or path.startswith(STATIC)


def split_keys(text: str) -> tuple[str, ...]:
    """Keys between commas or in lines; ValueError if one is too easily guessed."""
    keys = tuple(key for key in (part.strip() for part in re.split(r"[,\n]", text)) if key)
    if not all(_PLAIN_KEY.fullmatch(key) for key in keys):
        raise ValueError(f"a key has {SHORTEST_KEY} to 512 plain characters, none of them a comma")
    return keys


class Keys:
    """The keys, kept as digests: a comparison takes as long however much of a key is right."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, authorization: bytes | None) -> None:
        """Unauthorized unless the header's value is `Bearer` and a key."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized(given=False)
        given = _digest(key.strip())
        # Every digest is looked at, so that the time does not tell which one matched.
        if not sum(hmac.compare_digest(given, digest) for digest in self._digests):
            raise Unauthorized(given=True)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
