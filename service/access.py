"""Around every request: its id, a line in the log, and a problem for what nothing else caught.

Plain ASGI, so that a client's going away stays visible to what is inside.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import problem_response

logger = logging.getLogger("unmel.access")

HEADER = b"x-request-id"
_PLAIN = re.compile(rb"[\x21-\x7e]{1,128}")


def request_id(scope: Scope) -> str:
    """The id that the client sent, where it is plain and short, or a new one."""
    for name, value in scope["headers"]:
        if name == HEADER and _PLAIN.fullmatch(value):
            return str(value.decode("ascii"))
    return uuid.uuid4().hex


class AccessMiddleware:
    """Give each request an id, send it back, and log one line when the answer is out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, ident, status = time.monotonic(), request_id(scope), 0
        scope.setdefault("state", {})["request_id"] = ident

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (HEADER, ident.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            if status:  # the answer has begun: all that is left is to break it off
                raise
            await problem_response(Request(scope), error)(scope, receive, send_with_id)
        finally:
            logger.info(
                "%s %s %s status=%d seconds=%.3f id=%s",
                scope["client"][0] if scope.get("client") else "-",
                scope["method"],
                quote(scope["path"]),
                status,
                time.monotonic() - began,
                ident,
            )
