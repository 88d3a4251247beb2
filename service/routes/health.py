"""GET /livez, /readyz and /metrics: liveness, readiness and Prometheus metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from unmel import __version__
from unmel.service.ops import metrics
from unmel.service.web import openapi
from unmel.service.web.components import components_of
from unmel.service.wire.schemas import Health

router = APIRouter(tags=["health"])


_STATES: dict[int | str, dict[str, Any]] = {200: {"model": Health}, 503: {"model": Health}}


@router.get("/livez", operation_id="livez", responses=_STATES)
async def livez(request: Request) -> Response:
    """The process answers and can compute; 503: it must be restarted."""
    alive = components_of(request).alive
    return _health("alive" if alive else "hopeless", ok=alive)


@router.get("/readyz", operation_id="readyz", responses=_STATES)
async def readyz(request: Request) -> Response:
    """Warm, with every lane working, and accepting requests."""
    components = components_of(request)
    ready = components.ready
    details = components.backend if ready else {}
    return _health("ready" if ready else "not ready", ok=ready, **details)


def _health(status: str, *, ok: bool, **details: str) -> Response:
    health = Health(status=status, version=__version__, **details)
    return JSONResponse(health.model_dump(exclude_none=True), 200 if ok else 503)


@router.get("/metrics", operation_id="metrics", **openapi.METRICS)
async def show_metrics(request: Request) -> Response:
    """Counters, histograms and the current state in Prometheus's format."""
    return Response(components_of(request).metrics.text(), media_type=metrics.CONTENT_TYPE)
