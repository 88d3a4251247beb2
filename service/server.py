"""uvicorn around the app: a drain that answers what was accepted, and clients that are cut off."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from unmel.service.ops.settings import Settings
from unmel.service.queue.lanes import Lanes

logger = logging.getLogger("unmel.server")

# Of the grace period, what is kept for whatever comes after the accepted work.
_LAST_SECONDS = 1.0
_LOOK_SECONDS = 0.05
# Most that a connection is waited for whose first request has not come yet.
_HEAR_SECONDS = 1.0
_ASKED = object()
# What the last 503s may take.
_ANSWER_SECONDS = 0.5
# From a second signal to the process's end.
_FORCED_SECONDS = 0.8


class Server(uvicorn.Server):
    """Stops in two steps: first nothing new is taken while the lanes work off what was accepted,
    with the port still open so that new requests are told 503, and every answer closes its
    connection; then uvicorn's own shutdown, which answers what has reached the process by then.

    A second signal skips the first step and answers whatever waits with 503. `at_last` is called
    from a thread of its own when the server has not ended by the end of the grace period, or
    `_FORCED_SECONDS` after a second signal.
    """

    def __init__(
        self, app: FastAPI, settings: Settings, at_last: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # AccessMiddleware writes one line a request, with its id
                server_header=False,
                ws_max_size=settings.max_message_bytes,
                ws_per_message_deflate=False,  # samples hardly shrink, and it costs a core
            )
        )
        self._lanes: Lanes = app.state.parts.lanes
        self._settings, self._at_last = settings, at_last
        self._draining: asyncio.Task[None] | None = None
        self._stop_asked, self._grace_ends = False, math.inf

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's own, and the kernel is told to end connections whose client takes nothing for
        too long: to close them would be to wait for the client.
        """
        await super().startup(sockets)
        if not hasattr(socket, "TCP_USER_TIMEOUT"):  # not Linux
            return
        limit = int(1000 * self._settings.client_seconds)
        for server in self.servers:
            for bound in server.sockets:  # what is accepted inherits it
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's own, after whoever has connected was answered: those in the kernel's queue are
        accepted, a first request that is still on its way is waited for, and what is not done
        shortly before the grace period's end, or at a second signal, is told 503.
        """
        for server in self.servers:
            for bound in server.sockets:
                _take_no_more(bound)
        await asyncio.sleep(_LOOK_SECONDS)  # the kernel's queue is accepted
        for server in self.servers:
            server.close()
        state, last = self.server_state, self._grace_ends - _ANSWER_SECONDS
        await self._while(self._some_have_not_asked, min(time.monotonic() + _HEAR_SECONDS, last))
        for connection in list(state.connections):
            connection.shutdown()  # its answer is its last
        await self._while(lambda: bool(state.tasks or state.connections), last)
        for task in (left := list(state.tasks)):
            task.cancel()  # AccessMiddleware answers it
        if left:
            await asyncio.wait(left, timeout=_ANSWER_SECONDS)
        # From Python 3.12 on a server that has closed waits for its clients to leave.
        self.config.timeout_graceful_shutdown = 0 if self.force_exit else 1
        await super().shutdown(sockets)

    async def _while(self, holds: Callable[[], bool], until: float) -> None:
        """Wait while something holds, up to a time, and no longer after a second signal."""
        while holds() and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS / 5)

    def _some_have_not_asked(self) -> bool:
        """Whether a connection has brought no request yet; WebSockets have."""
        connections = self.server_state.connections
        return any(getattr(one, "cycle", _ASKED) is None for one in connections)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins the drain, another one ends at once."""
        if self._stop_asked and not self.force_exit:
            self.should_exit = self.force_exit = True
            self._end_after(_FORCED_SECONDS)
        self._stop_asked = True

    def _end_after(self, seconds: float) -> None:
        """Call `at_last` unless the process has ended by then."""
        last_resort = threading.Timer(seconds, self._at_last)
        last_resort.daemon = True
        last_resort.start()

    async def on_tick(self, counter: int) -> bool:
        if self._stop_asked and self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        """Refuse what comes, wait for what was accepted, and let uvicorn end."""
        grace = self._settings.drain_seconds
        self._grace_ends = time.monotonic() + grace
        self._end_after(grace)
        logger.info("draining", extra={"outstanding": self._lanes.outstanding})
        self._lanes.drain()
        while self._lanes.outstanding and time.monotonic() < self._grace_ends - _LAST_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
        if self._lanes.outstanding:
            logger.error("the grace period is over", extra={"left": self._lanes.outstanding})
        self.should_exit = True


# Classic BPF (Linux: networking/filter.rst) on a TCP header, whose byte 13 holds the flags: drop a
# segment with SYN and without ACK, let any other pass.
_NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load the byte
    (0x54, 0, 0, 0x12),  # keep SYN and ACK of it
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # then nothing of it is taken
    (0x06, 0, 0, 0xFFFF),
)
_SO_ATTACH_FILTER = 26


def _take_no_more(bound: socket.socket) -> None:
    """Let no further client connect to a listening socket; one that is connecting may finish.

    To close it would reset those that wait in the kernel's queue, and another may come into it
    between the last look and the close. Where there is no such filter nothing happens.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_CONNECTIONS)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(held))
    with contextlib.suppress(OSError):  # a sandbox that has no filters, or a Unix socket
        bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
