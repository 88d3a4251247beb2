"""The frame of every call: request id, key, memory, span, status, metrics and log line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import grpc
from starlette.requests import ClientDisconnect

from unmel.models.errors import Unreadable
from unmel.service.errors import Overloaded
from unmel.service.ops import tracing
from unmel.service.ops.keys import NO_KEY, OPEN_METHODS, Keys
from unmel.service.ops.limits import Reservation
from unmel.service.ops.logs import request_id
from unmel.service.web.access import REQUEST_ID_HEADER, account, make_request_id, shut_down
from unmel.service.web.components import Components
from unmel.service.wire.problems import grpc_code_of, logged_problem, retry_seconds, status_of

# A client accepts 8 KiB of metadata, and gRPC writes a byte that is not ASCII as three.
_MAX_DETAILS, _MAX_PROBLEM = 1000, 4096  # bytes
_REQUEST_ID = REQUEST_ID_HEADER.lower()


@dataclass(eq=False)
class Call:
    """One call: what its client said of it, and what the log will say."""

    context: Any
    ident: str
    began: float
    answer_by: float | None
    """The call's own deadline (time.monotonic); None without one."""
    reservation: Reservation
    key: str = NO_KEY
    """Label of its key."""
    metadata: dict[str, str] = field(default_factory=dict)
    """For the client, behind the answer."""
    noted: dict[str, Any] = field(default_factory=dict)
    """For the log."""


class Calls:
    """Handlers of gRPC's around functions from bytes to bytes.

    Messages are parsed and made by the functions, on threads and within the memory budget: the
    event loop would wait for those of some megabytes. They are read by the functions too, so that
    nothing is read of a call without a key.

    Parameters
    ----------
    components
        Components of the service.
    keys
        Valid keys; where there is none, the service is open.

    """

    def __init__(self, components: Components, keys: Keys) -> None:
        self._components, self._keys = components, keys
        self._tasks: set[asyncio.Task[Any]] = set()
        self._broken_off = False

    def break_off(self) -> None:
        """Answer the calls that are not done: their time is over."""
        self._broken_off = True
        for task in list(self._tasks):
            task.cancel()

    def unary(
        self, path: str, work: Callable[[Call, AsyncIterator[bytes]], Awaitable[bytes]]
    ) -> Any:
        """Make the handler of a method with one request, which `only_message` reads."""

        async def handle(requests: AsyncIterator[bytes], context: Any) -> bytes:
            async with self._around(path, context) as call:
                return await work(call, requests)

        # gRPC would read the message of a unary handler before it calls it.
        return grpc.stream_unary_rpc_method_handler(handle)

    def stream(
        self, path: str, work: Callable[[Call, AsyncIterator[bytes]], Awaitable[None]]
    ) -> Any:
        """Make the handler of a method with streams in both directions."""

        async def handle(requests: AsyncIterator[bytes], context: Any) -> None:
            async with self._around(path, context) as call:
                await work(call, requests)

        return grpc.stream_stream_rpc_method_handler(handle)

    @asynccontextmanager
    async def _around(self, path: str, context: Any) -> AsyncIterator[Call]:
        """Account for a call; an exception becomes its status."""
        began, status, refused = time.monotonic(), 200, None
        given = _texts(context.invocation_metadata())
        ident = make_request_id([given[_REQUEST_ID].encode()] if _REQUEST_ID in given else [])
        left = context.time_remaining()
        answer_by = None if left is None else began + left
        token, task = request_id.set(ident), asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers are tasks
        self._tasks.add(task)
        with self._components.budget.reserve() as reservation:
            call = Call(context, ident, began, answer_by, reservation)
            call.metadata[_REQUEST_ID] = ident
            try:
                with tracing.server_span(path, given):
                    if self._keys and path.rpartition("/")[2] not in OPEN_METHODS:
                        authorization = given.get("authorization")
                        call.key = self._keys.check(
                            None if authorization is None else authorization.encode()
                        )
                    yield call
                context.set_trailing_metadata(tuple(call.metadata.items()))
            except (asyncio.CancelledError, Exception) as raised:
                error: BaseException = raised
                if isinstance(raised, asyncio.CancelledError):
                    if not self._broken_off:  # the client left, or its deadline has passed
                        status = status_of(ClientDisconnect())
                        raise
                    error = shut_down()
                status = status_of(error)
                refused = error.reason if isinstance(error, Overloaded) else None
                call.noted["code"] = grpc_code_of(error)
                await self._abort(call, error)
            finally:
                self._tasks.discard(task)
                seconds = time.monotonic() - began
                account(
                    *(self._components.metrics, path, status, seconds, call.key),
                    refused=refused,
                    client=_address(context.peer()),
                    method="gRPC",
                    path=path,
                    **call.noted,
                )
                request_id.reset(token)

    async def _abort(self, call: Call, error: BaseException) -> None:
        """End a call by an exception's status; raises."""
        problem, seconds = logged_problem(error), retry_seconds(error)
        if seconds is not None:
            call.metadata["retry-after"] = str(seconds)
        text = json.dumps(problem)
        if len(text) <= _MAX_PROBLEM:
            call.metadata["problem"] = text
        await call.context.abort(
            grpc.StatusCode[grpc_code_of(error)],
            str(problem["detail"]).encode()[:_MAX_DETAILS].decode(errors="ignore"),
            tuple(call.metadata.items()),
        )


async def only_message(requests: AsyncIterator[bytes]) -> bytes:
    """The request of a unary call; Unreadable if there is none."""
    async for data in requests:
        return data
    raise Unreadable("message", "nothing", "one message")


def _texts(metadata: Any) -> dict[str, str]:
    """Metadata by name; of those that are bytes nothing is read."""
    return {name: value for name, value in metadata or () if isinstance(value, str)}


def _address(peer: str) -> str:
    """The host of `ipv4:host:port` or `ipv6:[host]:port`, as the log of HTTP has it."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
