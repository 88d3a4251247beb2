"""POST /reconstruct and POST /analyze: mel to audio, audio to mel; GET /progress of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from unmel.models.errors import Invalid
from unmel.service.queue.tickets import Served
from unmel.service.routes.chunked import reconstruct_chunked
from unmel.service.web import openapi, responses
from unmel.service.web.components import parts_of
from unmel.service.web.pipeline import serve_whole
from unmel.service.wire.bodies import Body, query_fields
from unmel.service.wire.formats import encode_npy
from unmel.service.wire.requests import (
    AnalyzeOrder,
    Order,
    read_analyze_order,
    read_deadline,
    read_order,
)
from unmel.service.wire.schemas import Progress

router = APIRouter(tags=["audio"])


@router.post("/reconstruct", **openapi.RECONSTRUCT)
async def reconstruct(request: Request) -> Response:
    """A mel spectrogram in, audio out; as it is made, with `stream=true`."""
    settings = parts_of(request).settings
    if _wants_stream(request):
        answer_by = read_deadline(request.headers.get("x-deadline-ms"), time.monotonic())
        parts_of(request).lanes.knock(answer_by)
        return await reconstruct_chunked(request)

    def read(body: Body) -> Order:
        query = query_fields(request)
        query.pop("stream", None)
        return read_order(body, query, request.headers.get("accept"), settings)

    def encode(order: Order, served: Sequence[Served]) -> Response:
        [one] = served
        encoded = responses.encode(order, one)
        response = responses.answer(encoded, order.warnings + one.result.warnings)
        responses.describe(response, order, one)
        return response

    return await serve_whole(request, read, encode)


def _wants_stream(request: Request) -> bool:
    value = request.query_params.get("stream", "false")
    if value not in ("true", "false"):
        raise Invalid("stream", repr(value[:40]), "true or false")
    return value == "true"


@router.get("/progress/{request_id}")
async def progress(request: Request, request_id: str) -> Progress:
    """How far a request for audio or a mel has come, by the X-Request-ID that it was sent with."""
    return Progress(**asdict(parts_of(request).following.position(request_id)))


@router.post("/analyze", **openapi.ANALYZE)
async def analyze(request: Request) -> Response:
    """An audio file in, its mel in a config out, as npy `[n_mels, frames]`."""
    settings = parts_of(request).settings

    def read(body: Body) -> AnalyzeOrder:
        return read_analyze_order(body, query_fields(request), settings)

    def encode(order: AnalyzeOrder, served: Sequence[Served]) -> Response:
        [one] = served
        return responses.answer(encode_npy(one.result.values), order.warnings + one.result.warnings)

    return await serve_whole(request, read, encode)
