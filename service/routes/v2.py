"""The Open Inference Protocol, version 2: a preset is a model, its mel the input `mel`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from unmel import __version__
from unmel.models.mel import PRESETS, Preset
from unmel.service.errors import NotFound
from unmel.service.queue.tickets import Served
from unmel.service.web import openapi
from unmel.service.web.components import components_of
from unmel.service.web.pipeline import serve_whole
from unmel.service.web.responses import PacedResponse
from unmel.service.wire.bodies import Body
from unmel.service.wire.infer import HEADER_LENGTH, InferRequest, read_infer_request
from unmel.service.wire.levels import LevelledAudio, apply_levels
from unmel.service.wire.media import JSON, OCTET_STREAM
from unmel.service.wire.requests import ReconstructRequest

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])

VERSION = "1"


@router.get("", operation_id="v2_server")
async def server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "unmel", "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/health/live", operation_id="v2_live", **openapi.V2_HEALTH)
async def live(request: Request) -> Response:
    """As `/livez`."""
    return JSONResponse({"live": True}, 200 if components_of(request).alive else 503)


@router.get("/health/ready", operation_id="v2_ready", **openapi.V2_HEALTH)
async def ready(request: Request) -> Response:
    """As `/readyz`."""
    return _ready(request)


@router.get("/models/{model}", operation_id="v2_model", **openapi.V2)
@router.get("/models/{model}/versions/{version}", operation_id="v2_model_version", **openapi.V2)
async def model_metadata(model: str, version: str = VERSION) -> dict[str, Any]:
    """Tensors of a preset."""
    bands = _preset(model, version).config.n_mels
    return {
        "name": model,
        "versions": [VERSION],
        "platform": "unmel",
        "inputs": [{"name": "mel", "datatype": "FP32", "shape": [bands, -1]}],
        "outputs": [{"name": "audio", "datatype": "FP32", "shape": [-1]}],
    }


@router.get("/models/{model}/ready", operation_id="v2_model_ready", **openapi.V2_HEALTH)
@router.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="v2_model_version_ready",
    **openapi.V2_HEALTH,
)
async def model_ready(request: Request, model: str, version: str = VERSION) -> Response:
    """Every preset is as ready as the service."""
    _preset(model, version)
    return _ready(request)


@router.post("/models/{model}/infer", operation_id="v2_infer", **openapi.V2_INFER)
@router.post(
    "/models/{model}/versions/{version}/infer", operation_id="v2_infer_version", **openapi.V2_INFER
)
async def infer(request: Request, model: str, version: str = VERSION) -> Response:
    """A mel, or a batch of mels of one length, to audio."""
    preset, settings = _preset(model, version), components_of(request).settings
    length = request.headers.get(HEADER_LENGTH)

    def read(body: Body) -> InferRequest:
        return read_infer_request(body.data, length, preset, settings)

    return await serve_whole(request, read, _answer)


def _ready(request: Request) -> Response:
    is_ready = components_of(request).ready
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


def _preset(model: str, version: str) -> Preset:
    if model not in PRESETS:
        raise NotFound("model", repr(model[:80]), "one of " + ", ".join(PRESETS))
    if version != VERSION:
        raise NotFound("version", repr(version[:80]), VERSION)
    return PRESETS[model]


def _answer(wanted: InferRequest, served: Sequence[Served]) -> Response:
    audio = [_levelled(clip, one) for clip, one in zip(wanted.clips, served, strict=True)]
    samples = np.stack([one.samples for one in audio]).astype("<f4", copy=False)
    if not wanted.batched:
        samples = samples[0]
    warnings = {
        warning
        for clip, one, levelled in zip(wanted.clips, served, audio, strict=True)
        for warning in (*clip.warnings, *one.result.warnings, *levelled.warnings)
    }
    output: dict[str, Any] = {"name": "audio", "datatype": "FP32", "shape": list(samples.shape)}
    parameters: dict[str, Any] = {"sample_rate": audio[0].sample_rate}
    if warnings:
        parameters["warnings"] = "; ".join(sorted(warnings))
    head: dict[str, Any] = {"model_name": wanted.model, "model_version": VERSION}
    if wanted.id is not None:
        head["id"] = wanted.id
    head |= {"parameters": parameters, "outputs": [output]}
    if not wanted.binary:
        output["data"] = samples.reshape(-1).tolist()
        return PacedResponse(json.dumps(head).encode(), media_type=JSON)
    raw = samples.tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    text = json.dumps(head).encode()
    return PacedResponse(
        text + raw,
        headers={HEADER_LENGTH: str(len(text))},
        media_type=OCTET_STREAM,
    )


def _levelled(clip: ReconstructRequest, served: Served) -> LevelledAudio:
    wave = np.asarray(served.result.values, np.float32)
    return apply_levels(wave, clip.item.config.sample_rate, clip.levels, bounded=False)
