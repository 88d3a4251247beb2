"""A light HTTP/1.1 client over asyncio's streams, with connections kept alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

# Bytes of a read: few reads per answer cost the client little.
_LARGEST_READ = 2**22
# uvicorn closes a connection after five idle seconds.
_KEPT_SECONDS = 3.0


@dataclass(frozen=True)
class Answer:
    """An answer, and the seconds since the request was due."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    seconds: float


class Broken(Exception):
    """The connection ended within the answer."""


class Connection:
    """One connection to a service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect; OSError if nothing listens."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=_LARGEST_READ))

    async def send(self, head: bytes, body: bytes) -> None:
        """Send a request or a part of it."""
        self._writer.write(head + body)
        await self._writer.drain()

    async def answer(self, began: float) -> Answer:
        """Read an answer; Broken if it is incomplete."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = await self._reader.readexactly(int(headers["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Broken(str(error)) from error
        return Answer(int(first.split(" ", 2)[1]), headers, body, time.monotonic() - began)

    def close(self) -> None:
        self._writer.close()


def post_head(path: str, length: int, options: Mapping[str, object], **headers: str) -> bytes:
    """The head of a POST of npy bytes; header names have underscores for hyphens."""
    lines = [
        f"POST {path}?{urlencode(options)} HTTP/1.1",
        "Host: bench",
        "Content-Type: application/x-npy",
        f"Content-Length: {length}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Client:
    """Requests over a pool of connections that grows with the requests in flight."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[tuple[float, Connection]] = []

    async def post(
        self, body: bytes, options: Mapping[str, object], began: float, **headers: str
    ) -> Answer:
        """Post a reconstruction; `began` is the time at which it was due."""
        connection = self._warm() or await Connection.open(self._url)
        try:
            await connection.send(post_head("/reconstruct", len(body), options, **headers), body)
            answer = await connection.answer(began)
        except BaseException:
            connection.close()
            raise
        if answer.headers.get("connection") == "close":
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))
        return answer

    def _warm(self) -> Connection | None:
        """An idle connection that the service cannot have closed yet; older ones are closed."""
        while self._idle:
            used, connection = self._idle.pop()
            if time.monotonic() - used < _KEPT_SECONDS:
                return connection
            connection.close()
        return None

    def close(self) -> None:
        for _, connection in self._idle:
            connection.close()
