"""create_app(settings, engine): the routes and the lifespan, nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from models.engine import Engine, Item
from models.presets import preset
from models.recipe import resolve
from service import __version__, about, openapi, problems
from service.access import AccessMiddleware
from service.bodies import query_fields, read_body
from service.codecs import Encoded, encode_audio, encode_npy
from service.intake import Order, read_analyze_order, read_order
from service.lanes import Lanes, Served
from service.schemas import Health
from service.settings import Settings

logger = logging.getLogger("unmel.app")


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """The service around an engine."""
    lanes = Lanes(
        engine,
        settings.resolve_lanes(engine.device.type),
        max_pack_frames=settings.max_pack_frames,
        max_queue_seconds=settings.max_queue_seconds,
        deadline_seconds=settings.deadline_seconds,
    )
    warm = asyncio.Event()

    async def warm_up() -> None:
        await asyncio.to_thread(_warm_up, engine, settings)
        warm.set()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        lanes.start()
        warming = asyncio.create_task(warm_up())
        warming.add_done_callback(_log_failure)
        yield
        warming.cancel()
        # uvicorn has waited for the accepted requests; what still runs then, nobody waits for.
        await asyncio.to_thread(lanes.close, 1.0)

    app = FastAPI(
        title="Unmel",
        version=__version__,
        summary="Mel spectrograms back into audio, without trained weights.",
        lifespan=lifespan,
    )
    app.add_middleware(AccessMiddleware)
    problems.add_handlers(app)
    app.include_router(about.router)

    @app.post("/reconstruct", tags=["audio"], **openapi.RECONSTRUCT)
    async def reconstruct(request: Request) -> Response:
        """A mel spectrogram in, audio out."""
        began = time.monotonic()
        body = await read_body(request, settings.max_body_bytes)
        query, accept = query_fields(request), request.headers.get("accept")
        order = await asyncio.to_thread(read_order, body, query, accept, settings)
        decoded = time.monotonic()
        served = await lanes.submit(order.item)
        computed = time.monotonic()
        encoded = await asyncio.to_thread(_encode, order, served)
        response = Response(encoded.data, media_type=encoded.media_type)
        rate = order.item.config.sample_rate
        response.headers["X-Sample-Rate"] = str(rate)
        response.headers["X-Audio-Seconds"] = f"{order.item.samples / rate:.6f}"
        response.headers["X-Pack-Items"] = str(served.pack_items)
        if encoded.gain != 1.0:
            response.headers["X-Gain"] = f"{encoded.gain:.6g}"
        _add_warnings(response, order.warnings + served.result.warnings)
        response.headers["Server-Timing"] = _server_timing(
            decode=decoded - began,
            queue=served.queue_seconds,
            compute=served.compute_seconds,
            encode=time.monotonic() - computed,
        )
        return response

    @app.post("/analyze", tags=["audio"], **openapi.ANALYZE)
    async def analyze_audio(request: Request) -> Response:
        """An audio file in, its mel in a config out, as npy `[n_mels, frames]`."""
        body = await read_body(request, settings.max_body_bytes)
        order = await asyncio.to_thread(read_analyze_order, body, query_fields(request), settings)
        mel = await asyncio.to_thread(engine.analyze, order.options.config, order.wave)
        encoded = await asyncio.to_thread(encode_npy, mel.values)
        response = Response(encoded.data, media_type=encoded.media_type)
        _add_warnings(response, order.warnings + mel.warnings)
        return response

    @app.get("/livez", tags=["health"])
    async def livez() -> Health:
        """The process answers."""
        return Health(status="alive", version=__version__)

    @app.get("/readyz", tags=["health"], responses={503: {"model": Health}})
    async def readyz() -> Response:
        """Warmed up, every lane at work, and taking requests."""
        ready = warm.is_set() and lanes.ready
        health = Health(status="ready" if ready else "not ready", version=__version__)
        return JSONResponse(health.model_dump(), 200 if ready else 503)

    return app


def _warm_up(engine: Engine, settings: Settings) -> None:
    """Make the plans of the presets in the settings, and run one pack to load what torch needs."""
    configs = [preset(name).config for name in settings.warm_presets]
    engine.plans.warm(configs)
    for config in configs[:1]:
        mel = np.zeros((2, config.n_mels), np.float32)
        engine.run([Item(mel, config, resolve(config.power, n_iter=1), config.samples(2))])
    logger.info("ready, %d plans warm on %s", len(configs), engine.device)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("warm-up failed; the service stays unready", exc_info=task.exception())


def _encode(order: Order, served: Served) -> Encoded:
    values = served.result.values
    if order.format == "npy":
        return encode_npy(values)
    return encode_audio(
        np.asarray(values, np.float32), order.item.config.sample_rate, order.format, order.normalize
    )


def _add_warnings(response: Response, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        response.headers.append("X-Warning", warning)


def _server_timing(**seconds: float) -> str:
    return ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in seconds.items())
