"""Whether it lives, whether it is ready, and what Prometheus wants to know."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from unmel.service import __version__
from unmel.service.ops import metrics
from unmel.service.web import openapi
from unmel.service.web.components import parts_of
from unmel.service.wire.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/livez", responses={200: {"model": Health}, 503: {"model": Health}})
async def livez(request: Request) -> Response:
    """The process answers, and may still come to compute; 503: only a new one will."""
    hopeless = parts_of(request).lanes.hopeless
    return _health("hopeless" if hopeless else "alive", ok=not hopeless)


@router.get("/readyz", responses={200: {"model": Health}, 503: {"model": Health}})
async def readyz(request: Request) -> Response:
    """Warmed up, every lane at work, and taking requests."""
    parts = parts_of(request)
    ready = parts.warm.is_set() and parts.lanes.ready
    said = parts.backend if ready else {}
    return _health("ready" if ready else "not ready", ok=ready, **said)


def _health(status: str, *, ok: bool, **said: str) -> Response:
    health = Health(status=status, version=__version__, **said)
    return JSONResponse(health.model_dump(exclude_none=True), 200 if ok else 503)


@router.get("/metrics", **openapi.METRICS)
async def show_metrics(request: Request) -> Response:
    """Counters, histograms and the moment's state, as Prometheus reads them."""
    return Response(parts_of(request).metrics.text(), media_type=metrics.CONTENT_TYPE)
