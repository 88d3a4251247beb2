"""In front of Ray Serve's proxy: a request whose replica was lost is sent again, and what the
proxy would refuse in its own words is refused in the service's.

A request leaves nothing behind, so it may be computed twice. Ray calls `middlewares` in every
proxy, by the name in `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmel.service.errors import LaneLost, Overloaded
from unmel.service.web.access import HEADER
from unmel.service.wire.problems import problem_response

# A body that is larger is not kept, and its request not sent again.
_KEPT_BYTES = 8 * 2**20
# No attempt begins when so much time has gone by since the first was lost.
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
_BUSY_SECONDS = 5.0
_INTERNAL_ERROR = 1011


def middlewares() -> list[Middleware]:
    """What Ray puts around its proxy."""
    return [Middleware(Front)]


class Front:
    """Around the proxy, which answers itself when it finds no replica, and not at all when the
    replica that computes a request is lost.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, lost_at = _Body(receive), None
        while True:
            reply = _Reply(send)
            # The proxy adds an id to the headers: each attempt starts from those that came.
            attempt = {**scope, "headers": list(scope["headers"])}
            await self.app(attempt, body.reader(), reply.send)
            if reply.begun or body.left:
                return
            if reply.busy:
                error: Exception = Overloaded("queue", "No replica has room.", reply.retry_after)
                break
            lost_at = lost_at or time.monotonic()
            if not body.kept or time.monotonic() - lost_at > _PATIENCE_SECONDS:
                error = LaneLost("The replica that was computing this is gone.")
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        scope.setdefault("state", {})
        ident = _first(scope["headers"], HEADER)
        if ident is not None:
            scope["state"]["request_id"] = ident.decode("latin-1")
        await problem_response(Request(scope), error)(scope, body.reader(), _with_id(send, ident))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A stream cannot be sent again, its samples are out; it is closed as failed."""
        over = False

        async def watch(message: Message) -> None:
            nonlocal over
            over = over or message["type"] == "websocket.close"
            await send(message)

        async def listen() -> Message:
            nonlocal over
            message = await receive()
            over = over or message["type"] == "websocket.disconnect"
            return message

        await self.app(scope, listen, watch)
        if not over:
            await send({"type": "websocket.close", "code": _INTERNAL_ERROR})


class _Body:
    """A request's messages, kept while they are few enough to be sent again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []
        self._bytes, self.kept, self.left = 0, True, False

    def reader(self) -> Receive:
        """`receive` for one attempt: what came before, then what comes."""
        position = 0

        async def read() -> Message:
            nonlocal position
            if position < len(self._messages):
                position += 1
                return self._messages[position - 1]
            message = await self._receive()
            self.left = self.left or message["type"] == "http.disconnect"
            self._bytes += len(message.get("body", b""))
            self.kept = self.kept and self._bytes <= _KEPT_BYTES
            if self.kept:
                self._messages.append(message)
                position = len(self._messages)
            else:
                self._messages.clear()
            return message

        return read


class _Reply:
    """What an attempt sends, passed on unless it is the proxy's own word."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = self.busy = False
        self.retry_after = _BUSY_SECONDS

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            self.busy = message["status"] == 503 and _is_plain(headers)
            if self.busy:
                given = _first(headers, b"retry-after")
                self.retry_after = float(given) if given else _BUSY_SECONDS
                return
            self.begun = True
            message = {**message, "headers": _one_id(headers)}
        if not self.busy:
            await self._send(message)


Header = tuple[bytes, bytes]


def _is_plain(headers: Iterable[Header]) -> bool:
    """Whether an answer is text, which the service never answers with."""
    return (_first(headers, b"content-type") or b"text/plain").startswith(b"text/plain")


def _first(headers: Iterable[Header], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _one_id(headers: Iterable[Header]) -> list[Header]:
    """Without the id that the proxy adds to the service's."""
    rows = list(headers)
    ident = _first(rows, HEADER)
    kept = [(key, value) for key, value in rows if key.lower() != HEADER]
    return kept if ident is None else [*kept, (HEADER, ident)]


def _with_id(send: Send, ident: bytes | None) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start" and ident is not None:
            message["headers"] = [*message["headers"], (HEADER, ident)]
        await send(message)

    return forward
