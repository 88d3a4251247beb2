"""create_app(settings, engine): the parts put together, and their lifespan."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from unmel.models.engine.engine import Engine
from unmel.service import __version__
from unmel.service.ops.keys import Keys
from unmel.service.ops.settings import Settings
from unmel.service.routes import about, health, page, reconstruct, stream, v2
from unmel.service.web import openapi
from unmel.service.web.access import AccessMiddleware, KeyMiddleware
from unmel.service.web.components import Parts, make_parts
from unmel.service.wire import problems

logger = logging.getLogger("unmel.app")


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """The service around an engine; its parts are `app.state.parts`."""
    parts = make_parts(settings, engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.lanes.start()
        tasks = [asyncio.create_task(parts.warm_up()), asyncio.create_task(parts.watch())]
        for task in tasks:
            task.add_done_callback(_log_failure)
        yield
        for task in tasks:
            task.cancel()
        # The server has waited for the accepted requests; what still runs, nobody waits for.
        await asyncio.to_thread(parts.lanes.close, 1.0)

    app = FastAPI(
        title="Unmel",
        version=__version__,
        summary="Mel spectrograms back into audio, without trained weights.",
        lifespan=lifespan,
        telemetry={"operation_spans": False},  # the stages say more
    )
    app.state.parts = parts
    _surround(app, parts)
    problems.add_handlers(app)
    for router in (
        reconstruct.router,
        stream.router,
        about.router,
        health.router,
        v2.router,
        page.router,
    ):
        app.include_router(router)
    return app


def _surround(app: FastAPI, parts: Parts) -> None:
    """From the inside out: keys, then the origins that browsers may come from, then the log."""
    keys = Keys(parts.settings.read_keys())
    if keys:
        app.add_middleware(KeyMiddleware, keys=keys)
        openapi.ask_for_keys(app)
    if parts.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(parts.settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Deadline-Ms", "X-Request-ID"],
            expose_headers=list(openapi.EXPOSED_HEADERS),
        )
    app.add_middleware(
        AccessMiddleware,
        metrics=parts.metrics,
        budget=parts.budget,
        closing=lambda: parts.lanes.closing,
    )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a task of the service failed", exc_info=task.exception())
