"""create_app(settings, engine): routes, middlewares and the lifespan of the components."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from unmel import __version__
from unmel.models.engine import Engine
from unmel.service.ops.keys import Keys
from unmel.service.ops.settings import Settings
from unmel.service.routes import about, health, page, reconstruct, stream, v2
from unmel.service.web import openapi
from unmel.service.web.access import REQUEST_ID_HEADER, AccessMiddleware, KeyMiddleware
from unmel.service.web.components import Components, make_components
from unmel.service.web.methods import MethodsMiddleware
from unmel.service.web.pipeline import DEADLINE_HEADER
from unmel.service.wire import problems

logger = logging.getLogger("unmel.app")


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """Make the app; its components are `app.state.components`.

    Parameters
    ----------
    settings
        Settings of the service.
    engine
        Computes packs.

    """
    components = make_components(settings, engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        components.lanes.start()
        tasks = [
            asyncio.create_task(components.warm_up()),
            asyncio.create_task(components.watch()),
        ]
        for task in tasks:
            task.add_done_callback(_log_failure)
        yield
        for task in tasks:
            task.cancel()
        # The server has waited for accepted requests; no client waits for the rest.
        await asyncio.to_thread(components.lanes.close, 1.0)

    app = FastAPI(
        title="Unmel",
        version=__version__,
        summary="Mel spectrograms back into audio, without trained weights.",
        lifespan=lifespan,
        telemetry={"operation_spans": False},  # the stages have spans
    )
    app.state.components = components
    openapi.complete(app)
    _add_middlewares(app, components)
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


def _add_middlewares(app: FastAPI, components: Components) -> None:
    """Add methods, then keys, then CORS, then access, from the inside out."""
    app.add_middleware(MethodsMiddleware, router=app.router)
    keys = Keys(components.settings.read_keys())
    if keys:
        app.add_middleware(KeyMiddleware, keys=keys, metrics=components.metrics)
        openapi.document_keys(app)
    if components.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(components.settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=[
                *("Authorization", "Content-Type", "Content-Encoding"),
                *(DEADLINE_HEADER, REQUEST_ID_HEADER),
            ],
            expose_headers=list(openapi.EXPOSED_HEADERS),
        )
    app.add_middleware(
        AccessMiddleware,
        metrics=components.metrics,
        budget=components.budget,
        closing=lambda: components.lanes.closing,
    )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a background task failed", exc_info=task.exception())
