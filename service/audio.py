"""POST /reconstruct and POST /analyze: mel to audio, audio to mel; GET /progress of the former."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from models.errors import Invalid
from service import answers, openapi, stages
from service.bodies import query_fields, read_body
from service.chunked import reconstruct_chunked
from service.following import Followed
from service.formats import encode_npy
from service.intake import read_analyze_order, read_deadline, read_order
from service.parts import parts_of
from service.presence import while_connected
from service.schemas import Progress

router = APIRouter(tags=["audio"])


@router.post("/reconstruct", **openapi.RECONSTRUCT)
async def reconstruct(request: Request) -> Response:
    """A mel spectrogram in, audio out; as it is made, with `stream=true`."""
    began, parts = time.monotonic(), parts_of(request)
    answer_by = read_deadline(request.headers.get("x-deadline-ms"), began)
    parts.lanes.knock(answer_by)
    if _wants_stream(request):
        return await reconstruct_chunked(request)
    with parts.following.follow(request.state.request_id) as followed:
        return await _reconstruct_whole(request, began, answer_by, followed)


async def _reconstruct_whole(
    request: Request, began: float, answer_by: float | None, followed: Followed
) -> Response:
    parts, hold = parts_of(request), request.state.hold
    settings = parts.settings
    body = await read_body(request, settings, hold)
    query, accept = query_fields(request), request.headers.get("accept")
    query.pop("stream", None)
    order = await asyncio.to_thread(read_order, body, query, accept, settings)
    hold.set(order.nbytes)
    decoded = time.monotonic()
    work = parts.lanes.submit(order.item, answer_by, followed.queued)
    served = await while_connected(request, work)
    computed = time.monotonic()
    encoded = await asyncio.to_thread(answers.encode, order, served)
    response = answers.answer(encoded, order.warnings + served.result.warnings)
    answers.describe(response, order, served)
    stages.tell(
        request,
        response,
        [served],
        began=began,
        decoded=decoded,
        computed=computed,
        frames=order.item.frames,
    )
    return response


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
    began, parts = time.monotonic(), parts_of(request)
    answer_by = read_deadline(request.headers.get("x-deadline-ms"), began)
    parts.lanes.knock(answer_by)
    with parts.following.follow(request.state.request_id) as followed:
        body = await read_body(request, parts.settings, request.state.hold)
        query = query_fields(request)
        order = await asyncio.to_thread(read_analyze_order, body, query, parts.settings)
        request.state.hold.set(order.item.nbytes)
        decoded = time.monotonic()
        work = parts.lanes.submit(order.item, answer_by, followed.queued)
        served = await while_connected(request, work)
        computed = time.monotonic()
        encoded = await asyncio.to_thread(encode_npy, served.result.values)
        response = answers.answer(encoded, order.warnings + served.result.warnings)
        stages.tell(
            request,
            response,
            [served],
            began=began,
            decoded=decoded,
            computed=computed,
            frames=order.item.frames,
        )
        return response
