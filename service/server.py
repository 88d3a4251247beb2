"""uvicorn with a drain that answers all accepted requests, and a limit for stalled clients."""

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
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from unmel.models.errors import Invalid
from unmel.service.errors import BrokenOff
from unmel.service.ops.settings import Settings
from unmel.service.queue.lanes import Lanes

if TYPE_CHECKING:  # it needs the extra grpc
    from unmel.service.rpc.server import RpcServer

logger = logging.getLogger("unmel.server")

# End of the grace period that is kept for uvicorn's own shutdown.
_SHUTDOWN_SECONDS = 1.0
_POLL_SECONDS = 0.05
# Longest wait for the first request of an open connection.
_FIRST_REQUEST_SECONDS = 1.0
_NO_CYCLE = object()
# Exit status of uvicorn where a port cannot be opened.
_STARTUP_FAILURE = 3
# Time for the last 503 answers.
_ANSWER_SECONDS = 0.5
# Time from a second signal to the end of the process.
_FORCED_SECONDS = 0.8


class Server(uvicorn.Server):
    """Server that stops in two steps.

    First the lanes finish the accepted requests; the port stays open, new requests get 503, and
    every answer closes its connection. Then uvicorn shuts down and answers the requests that have
    reached the process. A second signal skips the first step and answers waiting requests with
    503.

    Parameters
    ----------
    app
        The app of `create_app`.
    settings
        Address, and limits of time and size.
    force_exit_now
        Called on a thread if the server has not ended by the end of the grace period, or
        `_FORCED_SECONDS` after a second signal.

    """

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        force_exit_now: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # AccessMiddleware writes the log
                server_header=False,
                ws_max_size=settings.max_message_bytes,
                ws_per_message_deflate=False,  # samples hardly compress, and it costs a core
            )
        )
        # An answer that was broken off is in the log of AccessMiddleware.
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._lanes: Lanes = app.state.components.lanes
        self._rpc = _rpc_server(app, settings)
        self._settings, self._force_exit_now = settings, force_exit_now
        self._draining: asyncio.Task[None] | None = None
        self._stop_requested, self._grace_ends = False, math.inf

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with a kernel limit for clients that read nothing.

        To close their connections would be to wait for them.
        """
        if self._rpc is not None:
            try:
                await self._rpc.open()
            except RuntimeError as error:
                logger.error("the port of gRPC cannot be opened: %s", error)
                sys.exit(_STARTUP_FAILURE)
        await super().startup(sockets)
        if self._rpc is not None and not self.should_exit:
            await self._rpc.start()
        if not hasattr(socket, "TCP_USER_TIMEOUT"):  # not Linux
            return
        limit = int(1000 * self._settings.client_seconds)
        for server in self.servers:
            for bound in server.sockets:  # accepted connections inherit it
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down after all connected clients are answered.

        Connections in the kernel's queue are accepted, first requests in transit are awaited, and
        requests that are unfinished near the end of the grace period, or at a second signal, get
        503.
        """
        last = self._grace_ends - _ANSWER_SECONDS
        rpc = asyncio.create_task(self._stop_rpc(last))
        for server in self.servers:
            for bound in server.sockets:
                _refuse_connections(bound)
        await asyncio.sleep(_POLL_SECONDS)  # accept the kernel's queue
        for server in self.servers:
            server.close()
        state = self.server_state
        await self._wait_while(
            self._awaits_first_request, min(time.monotonic() + _FIRST_REQUEST_SECONDS, last)
        )
        for connection in list(state.connections):
            connection.shutdown()  # after its current answer
        await self._wait_while(lambda: bool(state.tasks or state.connections), last)
        for task in (unfinished := list(state.tasks)):
            task.cancel()  # AccessMiddleware answers it
        if unfinished:
            await asyncio.wait(unfinished, timeout=_ANSWER_SECONDS)
        await rpc
        # From Python 3.12 on a closed server waits for its clients to disconnect.
        self.config.timeout_graceful_shutdown = 0 if self.force_exit else 1
        await super().shutdown(sockets)

    async def _stop_rpc(self, last: float) -> None:
        """Stop gRPC, whose unfinished calls are refused at a time or at a second signal."""
        if self._rpc is None:
            return
        grace = max(0.0, last - time.monotonic()) + _ANSWER_SECONDS
        stopping = asyncio.create_task(self._rpc.stop(grace))
        await self._wait_while(lambda: not stopping.done(), last)
        if not stopping.done():
            self._rpc.break_off()
            await asyncio.wait((stopping,), timeout=_ANSWER_SECONDS)
            await self._rpc.stop(0)
        await stopping

    async def _wait_while(self, holds: Callable[[], bool], until: float) -> None:
        """Wait while a condition holds, until a time or a second signal."""
        while holds() and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(_POLL_SECONDS / 5)

    def _awaits_first_request(self) -> bool:
        """Whether an HTTP connection has sent no request yet."""
        connections = self.server_state.connections
        return any(getattr(one, "cycle", _NO_CYCLE) is None for one in connections)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the drain at the first signal, and end at once at another one."""
        if self._stop_requested and not self.force_exit:
            self.should_exit = self.force_exit = True
            self._force_exit_after(_FORCED_SECONDS)
        self._stop_requested = True

    def _force_exit_after(self, seconds: float) -> None:
        """Call `force_exit_now` unless the process has ended by then."""
        timer = threading.Timer(seconds, self._force_exit_now)
        timer.daemon = True
        timer.start()

    async def on_tick(self, counter: int) -> bool:
        if self._stop_requested and self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        """Refuse new requests, wait for accepted ones, and let uvicorn end."""
        grace = self._settings.drain_seconds
        self._grace_ends = time.monotonic() + grace
        self._force_exit_after(grace)
        logger.info("draining", extra={"outstanding": self._lanes.outstanding})
        self._lanes.drain()
        while self._lanes.outstanding and time.monotonic() < self._grace_ends - _SHUTDOWN_SECONDS:
            await asyncio.sleep(_POLL_SECONDS)
        if self._lanes.outstanding:
            logger.error("the grace period has ended", extra={"left": self._lanes.outstanding})
        self.should_exit = True


def _rpc_server(app: FastAPI, settings: Settings) -> RpcServer | None:
    """The server of gRPC, if the settings ask for it; Invalid without the extra `grpc`."""
    if not settings.grpc_port:
        return None
    try:  # the extra is optional, so it is imported only when a port is set
        import grpc  # noqa: F401, PLC0415
        import tritonclient.grpc  # noqa: F401, PLC0415 - says RuntimeError where it lacks grpc
    except (ImportError, RuntimeError):
        got = str(settings.grpc_port)
        raise Invalid("UNMEL_GRPC_PORT", got, "0, or pip install 'unmel[grpc]'") from None
    from unmel.service.rpc.server import RpcServer  # noqa: PLC0415

    return RpcServer(app.state.components)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenOff))


# Classic BPF (Linux: networking/filter.rst) for a TCP header, whose byte 13 has the flags: drop a
# segment with SYN and without ACK, pass any other.
_NO_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load byte 13
    (0x54, 0, 0, 0x12),  # mask SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF),  # pass
)
_SO_ATTACH_FILTER = 26


def _refuse_connections(bound: socket.socket) -> None:
    """Refuse new connections to a listening socket without closing it.

    To close it would reset connections in the kernel's queue, including one that arrives just
    before. Without such filters in the system this does nothing.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *step) for step in _NO_NEW_CONNECTIONS)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(held))
    with contextlib.suppress(OSError):  # a sandbox without filters, or a Unix socket
        bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
