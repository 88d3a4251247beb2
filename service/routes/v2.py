"""The Open Inference Protocol, version 2: a preset is a model, its mel the input `mel`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from unmel.service.web import openapi
from unmel.service.web.accepted import Outcome, results_of
from unmel.service.web.components import components_of
from unmel.service.web.pipeline import serve_each
from unmel.service.web.responses import PacedResponse
from unmel.service.wire.bodies import Body
from unmel.service.wire.infer import HEADER_LENGTH, read_infer_request
from unmel.service.wire.infer_answer import make_infer_answer
from unmel.service.wire.infer_head import InferRequest
from unmel.service.wire.infer_models import VERSION, describe_model, describe_server, find_model
from unmel.service.wire.media import JSON, OCTET_STREAM

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])


@router.get("", operation_id="v2_server")
async def server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return describe_server("binary_tensor_data")


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
    return describe_model(find_model(model, version))


@router.get("/models/{model}/ready", operation_id="v2_model_ready", **openapi.V2_HEALTH)
@router.get(
    "/models/{model}/versions/{version}/ready",
    operation_id="v2_model_version_ready",
    **openapi.V2_HEALTH,
)
async def model_ready(request: Request, model: str, version: str = VERSION) -> Response:
    """Every preset is as ready as the service."""
    find_model(model, version)
    return _ready(request)


@router.post("/models/{model}/infer", operation_id="v2_infer", **openapi.V2_INFER)
@router.post(
    "/models/{model}/versions/{version}/infer", operation_id="v2_infer_version", **openapi.V2_INFER
)
async def infer(request: Request, model: str, version: str = VERSION) -> Response:
    """A mel, or a batch of mels of one length or (with the input `lengths`) several, to audio."""
    preset, settings = find_model(model, version), components_of(request).settings
    length = request.headers.get(HEADER_LENGTH)

    def read(body: Body) -> InferRequest:
        return read_infer_request(body.data, length, preset, settings)

    return await serve_each(request, read, _respond)


def _ready(request: Request) -> Response:
    is_ready = components_of(request).ready
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


def _respond(wanted: InferRequest, outcomes: Sequence[Outcome]) -> Response:
    answer = make_infer_answer(wanted, results_of(outcomes))
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for tensor in answer.tensors:
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if wanted.outputs[tensor.name]:
            parts.append(tensor.raw())
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = tensor.listed()
        outputs.append(output)
    head: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    if answer.id is not None:
        head["id"] = answer.id
    head |= {"parameters": answer.parameters, "outputs": outputs}
    text = json.dumps(head).encode()
    if not parts:
        return PacedResponse(text, media_type=JSON)
    return PacedResponse(
        b"".join([text, *parts]),
        headers={HEADER_LENGTH: str(len(text))},
        media_type=OCTET_STREAM,
    )
