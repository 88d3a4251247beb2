"""Around every request: its id, its hold on memory, its line in the log, its metrics, its key.

Plain ASGI, so that a client's going away stays visible to what is inside.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmel.service.errors import Overloaded, Unauthorized
from unmel.service.ops.budget import Budget
from unmel.service.ops.keys import Keys, is_open
from unmel.service.ops.logs import request_id
from unmel.service.ops.metrics import Metrics
from unmel.service.web.headers import security_headers
from unmel.service.wire.problems import problem_response

logger = logging.getLogger("unmel.access")

HEADER = b"x-request-id"
_CLOSE = (b"connection", b"close")
_PLAIN = re.compile(rb"[\x21-\x7e]{1,128}")
_LONGEST_PATH = 200


def id_of(scope: Scope) -> str:
    """The id that the client sent, where it is plain and short, or a new one."""
    for name, value in scope["headers"]:
        if name == HEADER and _PLAIN.fullmatch(value):
            return str(value.decode("ascii"))
    return uuid.uuid4().hex


class AccessMiddleware:
    """Give each request an id and a hold on memory; send the id back; tell log and metrics."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, budget: Budget, closing: Callable[[], bool]
    ) -> None:
        self.app, self.metrics, self.budget, self.closing = app, metrics, budget, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, ident, status = time.monotonic(), id_of(scope), 0
        state = scope.setdefault("state", {})
        state["request_id"] = ident
        more = [(HEADER, ident.encode()), *security_headers(scope["path"])]

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *more]
                if self.closing():  # or the client would send its next request to a closed door
                    message["headers"].append(_CLOSE)
            await send(message)

        token = request_id.set(ident)
        try:
            with self.budget.hold() as state["hold"]:
                await self.app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # Only a server that stops cancels requests: those that the grace period was not
            # enough for, which are answered like everybody.
            if status or not self.closing():
                raise
            error = Overloaded("draining", "The service shut down before this was done.", 5.0)
            await problem_response(Request(scope), error)(scope, receive, send_with_headers)
        except Exception as error:
            if status:  # the answer has begun: all that is left is to break it off
                raise
            await problem_response(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, time.monotonic() - began)
            request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        state = scope["state"]
        self.metrics.observe_request(route, status, seconds)
        refused = state.get("refused")
        if refused is not None:
            self.metrics.observe_refused(refused)
        logger.info(
            "request",
            extra={
                "client": scope["client"][0] if scope.get("client") else None,
                "method": scope["method"],
                "path": scope["path"][:_LONGEST_PATH],
                "route": route,
                "status": status,
                "seconds": round(seconds, 4),
                **({"refused": refused} if refused else {}),
                **state.get("stages", {}),
            },
        )


class KeyMiddleware:
    """Let only requests with a key through, but for the open paths."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not is_open(scope["path"]):
            try:
                self.keys.check(dict(scope["headers"]).get(b"authorization"))
            except Unauthorized as error:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
                    return
                await problem_response(Request(scope), error)(scope, receive, send)
                return
        await self.app(scope, receive, send)
