"""uvicorn around the app: a drain that answers what was accepted, and clients that are cut off."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.lanes import Lanes
from service.settings import Settings

logger = logging.getLogger("unmel.server")

# Of the grace period, what is kept for the answers to those that it was not enough for.
_LAST_SECONDS = 1.0
_LOOK_SECONDS = 0.05


class Server(uvicorn.Server):
    """Stops in two steps: first nothing new is taken while the lanes work off what was accepted,
    with the port still open so that new requests are told 503, and every answer closes its
    connection; then uvicorn's own shutdown, which answers what has reached the process by then.

    A second signal skips the first step. `at_last` is called from a thread of its own when the
    grace period is over and the server has not ended.
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
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )
        self._lanes: Lanes = app.state.parts.lanes
        self._settings, self._at_last = settings, at_last
        self._draining: asyncio.Task[None] | None = None
        self._stop_asked = False

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
        """Uvicorn's own, but that it would close connections on which a request has come that it
        has not read yet: with the port closed, a look is taken at each of them first.
        """
        for server in self.servers:
            server.close()
        if not self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins the drain, another one ends at once."""
        if self._stop_asked:
            self.should_exit = self.force_exit = True
        self._stop_asked = True

    async def on_tick(self, counter: int) -> bool:
        if self._stop_asked and self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        """Refuse what comes, wait for what was accepted, and let uvicorn end."""
        grace = self._settings.drain_seconds
        end = time.monotonic() + grace
        last_resort = threading.Timer(grace, self._at_last)
        last_resort.daemon = True
        last_resort.start()
        logger.info("draining", extra={"outstanding": self._lanes.outstanding})
        self._lanes.drain()
        while self._lanes.outstanding and time.monotonic() < end - _LAST_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
        if self._lanes.outstanding:
            logger.error("the grace period is over", extra={"left": self._lanes.outstanding})
        # What is left of it is for answers on their way. uvicorn cancels the requests that are
        # still there then, and AccessMiddleware answers them.
        self.config.timeout_graceful_shutdown = max(1, round(end - time.monotonic()))
        self.should_exit = True
