"""API keys: parsing, labels, comparison, and the paths that need none."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from unmel.service.errors import Unauthorized

SHORTEST_KEY = 16
_PLAIN_KEY = re.compile(rf"[\x21-\x2b\x2d-\x7e]{{{SHORTEST_KEY},512}}")
_LABEL = re.compile(r"[a-z][a-z0-9_.-]{0,31}")

UNLABELLED = "unlabelled"
"""Label of a key without one, in the log and the metrics."""

NO_KEY = "none"
"""The same of a request without a valid key."""

STATIC = "/static/"
"""Prefix of the page's files, which are public."""

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths for browsers and health probes, which have no key."""
OPEN_METHODS = frozenset({"ServerLive", "ServerReady"})
"""The same of gRPC's methods."""


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN_PATHS or path.startswith(STATIC)


@dataclass(frozen=True)
class Key:
    """A valid key and its label."""

    label: str
    secret: str = field(repr=False)


def split_keys(texts: Mapping[str, str]) -> tuple[Key, ...]:
    """Split texts into keys.

    Parameters
    ----------
    texts
        By the name of their source: entries separated by commas or line breaks, each `key` or
        `label:key`; the first colon ends the label. Several keys may share a label.

    Raises
    ------
    ValueError
        A label or a key is not well-formed, or a key is repeated. The entry is named by its
        source and number and never quoted: any part of it may be a secret.

    """
    found: dict[str, tuple[Key, str]] = {}
    for source, text in texts.items():
        entries = [entry for part in re.split(r"[,\n]", text) if (entry := part.strip())]
        for number, entry in enumerate(entries, start=1):
            place = f"{source}: entry {number} of {len(entries)}"
            key = _read_entry(entry, place)
            if key.secret in found:
                raise ValueError(f"{place} has the same key as {found[key.secret][1]}")
            found[key.secret] = key, place
    return tuple(key for key, _ in found.values())


def _read_entry(entry: str, place: str) -> Key:
    before, colon, after = entry.partition(":")
    label, secret = (before, after) if colon else (UNLABELLED, entry)
    if colon and not _LABEL.fullmatch(label):
        raise ValueError(
            f"{place}: what is before the colon is no label, which is a lower-case letter and up "
            "to 31 of a-z, 0-9, '-', '_' and '.'; a key that has a colon itself needs a label"
        )
    if colon and label in (UNLABELLED, NO_KEY):
        raise ValueError(f"{place}: the label {label} is the service's own")
    if not _PLAIN_KEY.fullmatch(secret):
        after_colon = " after the first colon" if colon else ""
        raise ValueError(
            f"{place}: a key has {SHORTEST_KEY} to 512 plain characters{after_colon}, none of them "
            "a comma"
        )
    return Key(label, secret)


class Keys:
    """Valid keys, stored as digests so that a comparison takes constant time."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._labels = {_digest(key.secret.encode()): key.label for key in keys}

    def __bool__(self) -> bool:
        return bool(self._labels)

    def check(self, authorization: bytes | None) -> str:
        """Check an Authorization header.

        Parameters
        ----------
        authorization
            Value of the header; None if it is missing.

        Returns
        -------
        The key's label.

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
        matching = [label for d, label in self._labels.items() if hmac.compare_digest(given, d)]
        if not matching:
            raise Unauthorized(given=True)
        return matching[0]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
