"""Access to the service: request ids, memory reservations, log lines, metrics, keys, headers.

The middlewares are plain ASGI, so that a handler still sees when its client disconnects.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmel.service.errors import BrokenOff, Overloaded, Unauthorized
from unmel.service.ops.keys import NO_KEY, Keys, is_open
from unmel.service.ops.limits import MemoryBudget
from unmel.service.ops.logs import request_id
from unmel.service.ops.metrics import Metrics
from unmel.service.queue.lanes import RESTART_SECONDS
from unmel.service.wire.problems import (
    close_code_of,
    note_problem,
    problem_response,
    status_of,
)

logger = logging.getLogger("unmel.access")

REQUEST_ID_HEADER = "X-Request-ID"
RAW_REQUEST_ID_HEADER = REQUEST_ID_HEADER.lower().encode()
"""The name as ASGI gives it."""

Header = tuple[bytes, bytes]

_CLOSE: Header = (b"connection", b"close")
_PLAIN = re.compile(rb"[\x21-\x7e]{1,128}")
_MAX_PATH = 200

_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)

_POLICY = b"content-security-policy"
_NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# FastAPI's documentation page loads the script of Swagger or Redoc from a CDN and starts it with
# an inline script.
_API_PAGE = (
    b"default-src 'none'; connect-src 'self'; worker-src blob:; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; "
    b"img-src data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# The page loads everything from the service itself.
_PAGE = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"media-src blob:; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_POLICIES = {"/": _PAGE, "/docs": _API_PAGE, "/redoc": _API_PAGE}


def shut_down() -> Overloaded:
    """Refusal of a request that was let in and is not done at the end of the grace period."""
    words = "The service shut down before the request was done."
    return Overloaded("draining", words, RESTART_SECONDS)


def security_headers(path: str) -> list[Header]:
    """Headers that restrict how a browser uses the answer to a path."""
    return [*_ALWAYS, (_POLICY, _POLICIES.get(path, _NOTHING))]


def request_id_of(scope: Scope) -> str:
    """Id of a request: the client's, if it is short printable ASCII, or a new one."""
    given = [value for name, value in scope["headers"] if name == RAW_REQUEST_ID_HEADER]
    return make_request_id(given)


def make_request_id(given: Iterable[bytes]) -> str:
    """The first id that is short printable ASCII, or a new one."""
    for value in given:
        if _PLAIN.fullmatch(value):
            return value.decode("ascii")
    return uuid.uuid4().hex


def account(
    metrics: Metrics,
    route: str,
    status: int,
    seconds: float,
    key: str,
    *,
    refused: str | None = None,
    **fields: object,
) -> None:
    """Count an answered request, and write its line in the log.

    Parameters
    ----------
    metrics
        Metrics of the service.
    route
        Template of the path, or a method of gRPC's.
    status
        HTTP status, also where another protocol says it in its own words.
    seconds
        From the head of the request to the end of the answer.
    key
        Label of its key: one of the settings', `UNLABELLED` or `NO_KEY`.
    refused
        Reason of a refusal.
    **fields
        Further fields of the line.

    """
    metrics.observe_request(route, status, seconds, key)
    if refused is not None:
        metrics.observe_refused(refused, key)
        fields = {"refused": refused, **fields}
    about = {"route": route, "key": key, "status": status, "seconds": round(seconds, 4)}
    logger.info("request", extra={**about, **fields})


class AccessMiddleware:
    """Give each request an id and a memory reservation, and account for it.

    Parameters
    ----------
    app
        The app inside.
    metrics
        Counts requests and refusals.
    budget
        Memory of all requests.
    closing
        Whether the service accepts no more requests.

    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, budget: MemoryBudget, closing: Callable[[], bool]
    ) -> None:
        self.app, self.metrics, self.budget, self.closing = app, metrics, budget, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, ident, status = time.monotonic(), request_id_of(scope), 0
        state = scope.setdefault("state", {})
        state["request_id"] = ident
        more = [(RAW_REQUEST_ID_HEADER, ident.encode()), *security_headers(scope["path"])]

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *more]
                if self.closing():  # the client's next request needs another process
                    message["headers"].append(_CLOSE)
            await send(message)

        token = request_id.set(ident)
        try:
            with self.budget.reserve() as state["reservation"]:
                await self.app(scope, receive, send_with_headers)
        except (asyncio.CancelledError, Exception) as raised:
            error = raised
            if isinstance(raised, asyncio.CancelledError):
                # Only a server that stops cancels requests, at the end of its grace period; they
                # are answered as well.
                if not self.closing():
                    raise
                error = shut_down()
            if not status:
                await problem_response(Request(scope), error)(scope, receive, send_with_headers)
                return
            problem = note_problem(Request(scope), _handled(error))
            status = problem["status"]
            state.setdefault("noted", {})["broken_off"] = problem["detail"]
            raise BrokenOff from None
        finally:
            self._account(scope, status, time.monotonic() - began)
            request_id.reset(token)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        account(
            self.metrics,
            getattr(scope.get("route"), "path", "other"),
            status,
            seconds,
            key_label(scope),
            refused=state.get("refused"),
            client=scope["client"][0] if scope.get("client") else None,
            method=scope["method"],
            path=scope["path"][:_MAX_PATH],
            **state.get("noted", {}),
            **state.get("stages", {}),
        )


def _handled(error: BaseException) -> BaseException:
    """The exception itself, where Starlette says that it could not be handled any more."""
    cause = error.__cause__
    unhandled = isinstance(error, RuntimeError) and cause is not None and status_of(cause) != 500
    return cause if unhandled and cause is not None else error


def key_label(scope: Scope) -> str:
    """Label of the key that a request or a stream came with, for the log and the metrics."""
    return str(scope.get("state", {}).get("key", NO_KEY))


class KeyMiddleware:
    """Refuse requests without a valid key, except on the open paths; note the others' labels.

    Parameters
    ----------
    app
        The app inside.
    keys
        Valid keys.
    metrics
        Counts refused streams; `AccessMiddleware` counts all requests.

    """

    def __init__(self, app: ASGIApp, keys: Keys, metrics: Metrics) -> None:
        self.app, self.keys, self.metrics = app, keys, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not is_open(scope["path"]):
            try:
                key = self.keys.check(dict(scope["headers"]).get(b"authorization"))
                scope.setdefault("state", {})["key"] = key
            except Unauthorized as error:
                if scope["type"] == "websocket":
                    await self._close(scope, send, error)
                    return
                await problem_response(Request(scope), error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _close(self, scope: Scope, send: Send, error: Unauthorized) -> None:
        """Refuse a stream, with a line in the log as streams have that were let in."""
        code = close_code_of(error)
        self.metrics.observe_stream(code, NO_KEY)
        logger.info(
            "stream",
            extra={
                "client": scope["client"][0] if scope.get("client") else None,
                "key": NO_KEY,
                "code": code,
                "broken_off": str(error),
            },
        )
        await send({"type": "websocket.close", "code": code, "reason": str(error)})
