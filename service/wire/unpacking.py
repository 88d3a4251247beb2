"""Compressed bodies, unpacked in small pieces while they are read."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator

from fastapi import Request

from unmel.models.errors import Unreadable
from unmel.service.errors import UnsupportedMedia

# A millisecond of the event loop's time, packed or unpacked.
_PIECE = 2**16
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
# Arguments of zlib: a gzip member, zlib's own format, and bare deflate.
_GZIP, _ZLIB, _BARE = 31, 15, -15


def coding_of(request: Request) -> str | None:
    """Read how a body is packed.

    Parameters
    ----------
    request
        Request whose body was not read.

    Returns
    -------
    `gzip`, `deflate`, or None for a body that is not packed.

    Raises
    ------
    UnsupportedMedia
        Any other coding, or one inside another.

    References
    ----------
    RFC 9110, section 8.4.

    """
    stated = ",".join(request.headers.getlist("content-encoding"))
    codings = [word for part in stated.split(",") if (word := part.strip().lower())]
    packed = [coding for coding in codings if coding != "identity"]
    if not packed:
        return None
    if len(packed) > 1 or packed[0] not in _CODINGS:
        raise UnsupportedMedia("Content-Encoding", repr(stated[:40]), "gzip, deflate, or none")
    return _CODINGS[packed[0]]


async def unpacked_body(request: Request) -> AsyncGenerator[bytes, None]:
    """Read a body as it arrives, unpacked.

    No more is unpacked than is asked for: whoever counts the pieces may stop at a limit.

    Parameters
    ----------
    request
        Request whose body was not read.

    Raises
    ------
    UnsupportedMedia
        As `coding_of`.
    Unreadable
        The bytes are not packed so, or break off.

    """
    coding = coding_of(request)
    unpacker = None if coding is None else _Unpacker(coding)
    async for chunk in request.stream():
        if unpacker is None:
            yield chunk
            continue
        for start in range(0, len(chunk), _PIECE):
            for piece in unpacker.pieces(chunk[start : start + _PIECE]):
                yield piece
                await asyncio.sleep(0)  # other requests have their turn
    if unpacker is not None:
        unpacker.end()


class _Unpacker:
    """One packed body: gzip of any number of members, or deflate."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._decoder: zlib._Decompress | None = None
        self._start = b""
        self._members = 0

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Unpack some more bytes, at most `_PIECE` at a time."""
        data, pending = self._start + data, False
        self._start = b""
        while data or pending:
            if self._decoder is None:
                if self._members:
                    data = data.lstrip(b"\0")  # padding, as gzip itself allows
                if len(data) < 2:  # the head of a deflate body has two bytes
                    self._start = data
                    return
                self._decoder = zlib.decompressobj(self._format(data))
            try:
                piece = self._decoder.decompress(data, _PIECE)
            except zlib.error:
                got = f"bytes that are not {self._coding}"
                raise self._unreadable(got) from None
            data = self._decoder.unconsumed_tail
            pending = len(piece) == _PIECE
            if self._decoder.eof:
                data, pending = self._decoder.unused_data, False
                self._decoder = None
                self._members += 1
            yield piece

    def _format(self, data: bytes) -> int:
        if self._coding == "gzip":
            return _GZIP
        if self._members:
            raise self._unreadable("bytes after the end of a deflate body")
        # RFC 9110 means zlib's format; some send it bare. RFC 1950, section 2.2.
        return _ZLIB if data[0] & 15 == 8 and (256 * data[0] + data[1]) % 31 == 0 else _BARE

    def end(self) -> None:
        """Check that nothing is missing; Unreadable otherwise."""
        if self._decoder is not None or self._start:
            raise self._unreadable(f"a {self._coding} body that breaks off")

    def _unreadable(self, got: str) -> Unreadable:
        return Unreadable("body", got, f"a body packed as Content-Encoding says: {self._coding}")
