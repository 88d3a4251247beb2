"""POST /reconstruct, POST /analyze and GET /progress: mel to audio, audio to mel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from unmel.service.queue.tickets import Served
from unmel.service.routes.chunked import reconstruct_chunked, whole_mel_in_chunks
from unmel.service.web import openapi, responses
from unmel.service.web.components import components_of
from unmel.service.web.pipeline import serve_whole
from unmel.service.wire.bodies import Body, query_fields
from unmel.service.wire.formats import encode_npy
from unmel.service.wire.requests import (
    AnalyzeRequest,
    ReconstructRequest,
    StreamWanted,
    read_analyze_request,
    read_flag,
    read_reconstruct_request,
)
from unmel.service.wire.schemas import Progress

router = APIRouter(tags=["audio"])


@router.post("/reconstruct", operation_id="reconstruct", **openapi.RECONSTRUCT)
async def reconstruct(request: Request) -> Response:
    """A mel spectrogram in, audio out; in chunks as it is computed, with `stream=true`."""
    components = components_of(request)
    settings, filterbanks = components.settings, components.filterbanks
    if read_flag("stream", query_fields(request).get("stream")):
        return await reconstruct_chunked(request)

    def read(body: Body) -> ReconstructRequest:
        query, accept = query_fields(request), request.headers.get("accept")
        return read_reconstruct_request(body, query, accept, settings, filterbanks)

    def encode(wanted: ReconstructRequest, served: Sequence[Served]) -> Response:
        [one] = served
        encoded = responses.encode_result(wanted, one.result)
        response = responses.make_response(encoded, wanted.warnings + one.result.warnings)
        responses.describe_audio(response, wanted, one)
        responses.keep_filterbank(response, wanted.item.config, filterbanks)
        return response

    try:
        return await serve_whole(request, read, encode)
    except StreamWanted as stream:
        return whole_mel_in_chunks(request, stream.wanted)


@router.get("/progress/{request_id}", operation_id="progress")
async def progress(request: Request, request_id: str) -> Progress:
    """Progress of a reconstruction or an analysis, by its X-Request-ID."""
    return Progress(**asdict(components_of(request).progress.position(request_id)))


@router.post("/analyze", operation_id="analyze", **openapi.ANALYZE)
async def analyze(request: Request) -> Response:
    """An audio file in, its mel out, as npy `[n_mels, frames]`."""
    components = components_of(request)
    settings, filterbanks = components.settings, components.filterbanks

    def read(body: Body) -> AnalyzeRequest:
        return read_analyze_request(body, query_fields(request), settings, filterbanks)

    def encode(wanted: AnalyzeRequest, served: Sequence[Served]) -> Response:
        [one] = served
        encoded = encode_npy(one.result.values)
        response = responses.make_response(encoded, wanted.warnings + one.result.warnings)
        responses.keep_filterbank(response, wanted.item.config, filterbanks)
        return response

    return await serve_whole(request, read, encode)
