"""OpenAPI of the routes whose bodies and answers are read and written by hand."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from unmel.models.engine import MAX_LOOKAHEAD
from unmel.service.ops import metrics
from unmel.service.ops.keys import OPEN_PATHS
from unmel.service.web.access import REQUEST_ID_HEADER
from unmel.service.web.openapi_bodies import (
    BINARY,
    analyze_body,
    body_schemas,
    query_parameters,
    reconstruct_body,
)
from unmel.service.web.openapi_problems import (
    NO_FILTERBANK,
    QUEUE,
    REFUSALS,
    SCHEMA,
    UNAUTHORIZED,
    Responses,
    component,
    headers,
)
from unmel.service.web.pipeline import DEADLINE_HEADER, MAX_DEADLINE_MS
from unmel.service.web.responses import FILTERBANK_HEADER
from unmel.service.wire.formats import FORMATS
from unmel.service.wire.media import FRAMES, JSON, NPY, OCTET_STREAM
from unmel.service.wire.schemas import AnalyzeOptions, ChunkedOptions, ReconstructOptions

_HEADERS = {
    "X-Sample-Rate": "Sample rate, Hz.",
    "X-Audio-Seconds": "Length of the audio, seconds.",
    "X-Gain": "Factor that was applied to the samples, if not 1.",
    "X-Warning": "A warning; may repeat.",
    FILTERBANK_HEADER: "Digest of the filterbank of one's own, by which later requests can name it "
    "in place of the array.",
    "X-Pack-Items": "Requests in the same pack, this one included.",
    "Server-Timing": "decode, queue, compute and encode, ms.",
    REQUEST_ID_HEADER: "Id of the request: the client's or a new one.",
}
EXPOSED_HEADERS = (*_HEADERS, "Retry-After")
"""Headers that scripts of other origins may read."""

_DEADLINE = {
    "name": DEADLINE_HEADER,
    "in": "header",
    "required": False,
    "description": "Milliseconds from now until the answer is due: 503 at once if that cannot be "
    "met, 504 if it passes in the queue. The service's own deadline is the upper bound.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_DEADLINE_MS},
}

_STREAM = [
    {
        "name": "stream",
        "in": "query",
        "required": False,
        "description": "true: the audio is sent in chunks as it is computed. Allowed options: "
        + ", ".join(ChunkedOptions.model_fields)
        + f". The body may also be frames, {FRAMES}, which are read as they arrive.",
        "schema": {"type": "boolean"},
    },
    {
        "name": "lookahead",
        "in": "query",
        "required": False,
        "description": "With stream: " + str(ChunkedOptions.model_fields["lookahead"].description),
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LOOKAHEAD},
    },
]

_AUDIO = {
    "description": "The audio, or npy for output magnitude and stft.",
    "content": {
        media: {"schema": BINARY}
        for media in sorted({form.media_type.split(";")[0] for form in FORMATS.values()} | {NPY})
    },
    "headers": headers(_HEADERS),
}

RECONSTRUCT: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: _AUDIO, **REFUSALS, **NO_FILTERBANK, **QUEUE},
    "openapi_extra": {
        "parameters": [*query_parameters(ReconstructOptions), *_STREAM, _DEADLINE],
        "requestBody": reconstruct_body(),
    },
}

ANALYZE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "The mel.",
            "content": {NPY: {"schema": BINARY}},
            "headers": headers(
                {
                    k: _HEADERS[k]
                    for k in ("Server-Timing", "X-Warning", FILTERBANK_HEADER, REQUEST_ID_HEADER)
                }
            ),
        },
        **REFUSALS,
        **NO_FILTERBANK,
        504: QUEUE[504],
    },
    "openapi_extra": {
        "parameters": [*query_parameters(AnalyzeOptions), _DEADLINE],
        "requestBody": analyze_body(),
    },
}

METRICS: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "Prometheus's text format.",
            "content": {metrics.CONTENT_TYPE: {"schema": {"type": "string"}}},
        }
    },
}


# --- the Open Inference Protocol ----------------------------------------------------------------


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}


_V2_ERROR = _json(component("InferenceError"), "Reason of the failure.")
_V2_STATE = _json({"type": "object"}, "State.")


def _tensors(member: str, description: str) -> dict[str, Any]:
    tensors = {"type": "array", "items": component("Tensor"), "description": description}
    return {"type": "object", "required": [member], "properties": {member: tensors}}


_V2_SCHEMAS: dict[str, Any] = {
    "InferenceError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Tensor": {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": {}},
        },
    },
    "InferenceRequest": _tensors(
        "inputs",
        "`mel`, `[n_mels, frames]` or a batch `[batch, n_mels, frames]`; and `lengths`, INT32 or "
        "INT64 `[batch]`, where the mels of a batch were filled up to the longest: the frames of "
        "each.",
    ),
    "InferenceAnswer": _tensors(
        "outputs",
        "`audio`, `[samples]` or `[batch, samples]`. With `lengths`, or where the request's "
        "outputs name them, also `samples` `[batch]`, and `errors`, BYTES `[batch]`: empty, or the "
        "problem of a mel that was refused, as JSON.",
    ),
}


def _v2_body(name: str) -> dict[str, Any]:
    return {"content": {JSON: {"schema": component(name)}, OCTET_STREAM: {"schema": BINARY}}}


_V2_NOT_FOUND: Responses = {404: _V2_ERROR}
V2: dict[str, Any] = {"responses": _V2_NOT_FOUND}
V2_HEALTH: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: _V2_STATE, 503: _V2_STATE, **_V2_NOT_FOUND},
}
V2_INFER: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "The tensors.",
            "headers": headers({"Server-Timing": _HEADERS["Server-Timing"]}),
            **_v2_body("InferenceAnswer"),
        },
        **{status: _V2_ERROR for status in (404, *REFUSALS, *QUEUE) if status != 406},
    },
    "openapi_extra": {
        "parameters": [_DEADLINE],
        "requestBody": {"required": True, **_v2_body("InferenceRequest")},
    },
}


def complete(app: FastAPI) -> None:
    """Add the schemas that several routes name, and take away what FastAPI supposes of them.

    FastAPI documents a 422 of its own form for every parameter of a path. Any text is a valid one
    here: an unknown name is a 404.

    Parameters
    ----------
    app
        App whose document is completed.

    """
    plain = app.openapi

    def document() -> dict[str, Any]:
        made = plain()
        schemas = made["components"]["schemas"]
        for supposed in ("HTTPValidationError", "ValidationError"):
            schemas.pop(supposed, None)
        schemas |= {"Problem": SCHEMA, **_V2_SCHEMAS, **body_schemas()}
        for operations in made["paths"].values():
            for operation in operations.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        return made

    app.openapi = document  # type: ignore[method-assign] # as FastAPI's documentation has it


def document_keys(app: FastAPI) -> None:
    """Document that every path except the open ones requires a key.

    Parameters
    ----------
    app
        App whose document is extended.

    """
    plain = app.openapi

    def document() -> dict[str, Any]:
        made = plain()
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, operations in made["paths"].items():
            for operation in operations.values():
                if path not in OPEN_PATHS:
                    operation["security"] = [{"key": []}]
                    operation["responses"]["401"] = UNAUTHORIZED[401]
        return made

    app.openapi = document  # type: ignore[method-assign] # as FastAPI's documentation has it
