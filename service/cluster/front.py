"""Middleware of Ray Serve's proxy: requests of a lost replica are sent again.

The proxy's own refusals become problems. A request has no side effects, so it may be computed
twice. Ray calls `middlewares` in every proxy, by the name in
`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmel.service.errors import LaneLost, Overloaded
from unmel.service.web.access import RAW_REQUEST_ID_HEADER, Header
from unmel.service.wire.problems import problem_response

# Size of a body up to which it is kept, so that its request can be sent again.
_KEPT_BYTES = 8 * 2**20
# Time after the first loss in which attempts may begin.
_RETRY_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
_BUSY_SECONDS = 5.0
_INTERNAL_ERROR = 1011


def middlewares() -> list[Middleware]:
    """Middlewares of the proxy, for Ray."""
    return [Middleware(Front)]


class Front:
    """Wraps the proxy.

    The proxy answers by itself when it finds no replica, and does not answer when the replica of
    a request is lost.

    Parameters
    ----------
    app
        The proxy.

    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._pass_stream(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, lost_at = _ReplayableBody(receive), None
        while True:
            reply = _Reply(send)
            # The proxy adds an id to the headers; each attempt gets the original ones.
            attempt = {**scope, "headers": list(scope["headers"])}
            await self.app(attempt, body.reader(), reply.send)
            if reply.begun or body.disconnected:
                return
            if reply.busy:
                error: Exception = Overloaded("queue", "No replica has room.", reply.retry_after)
                break
            lost_at = lost_at or time.monotonic()
            if not body.kept or time.monotonic() - lost_at > _RETRY_SECONDS:
                error = LaneLost("The replica that computed this request was lost.")
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        scope.setdefault("state", {})
        ident = _first(scope["headers"], RAW_REQUEST_ID_HEADER)
        if ident is not None:
            scope["state"]["request_id"] = ident.decode("latin-1")
        await problem_response(Request(scope), error)(scope, body.reader(), _with_id(send, ident))

    async def _pass_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close a stream whose replica was lost: its samples are sent, so it cannot restart."""
        closed = False

        async def watch_service(message: Message) -> None:
            nonlocal closed
            closed = closed or message["type"] == "websocket.close"
            await send(message)

        async def watch_client() -> Message:
            nonlocal closed
            message = await receive()
            closed = closed or message["type"] == "websocket.disconnect"
            return message

        await self.app(scope, watch_client, watch_service)
        if not closed:
            await send({"type": "websocket.close", "code": _INTERNAL_ERROR})


class _ReplayableBody:
    """Messages of a request, kept while they are small enough to be sent again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []
        self._bytes, self.kept, self.disconnected = 0, True, False

    def reader(self) -> Receive:
        """`receive` for one attempt: the kept messages, then new ones."""
        position = 0

        async def read() -> Message:
            nonlocal position
            if position < len(self._messages):
                position += 1
                return self._messages[position - 1]
            message = await self._receive()
            self.disconnected = self.disconnected or message["type"] == "http.disconnect"
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
    """Answer of an attempt, passed on unless it is the proxy's own refusal."""

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


def _is_plain(headers: Iterable[Header]) -> bool:
    """Whether an answer is plain text, which the service never sends."""
    return (_first(headers, b"content-type") or b"text/plain").startswith(b"text/plain")


def _first(headers: Iterable[Header], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _one_id(headers: Iterable[Header]) -> list[Header]:
    """Headers without the id that the proxy adds to the service's own."""
    rows = list(headers)
    ident = _first(rows, RAW_REQUEST_ID_HEADER)
    kept = [(key, value) for key, value in rows if key.lower() != RAW_REQUEST_ID_HEADER]
    return kept if ident is None else [*kept, (RAW_REQUEST_ID_HEADER, ident)]


def _with_id(send: Send, ident: bytes | None) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start" and ident is not None:
            message["headers"] = [*message["headers"], (RAW_REQUEST_ID_HEADER, ident)]
        await send(message)

    return forward
