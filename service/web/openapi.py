"""The OpenAPI of the bodies and answers that the routes read and write by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Response

from unmel.models.engine.streams import MAX_LOOKAHEAD
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.service.ops import metrics
from unmel.service.ops.keys import OPEN_PATHS
from unmel.service.wire.arrays import NPZ, SAFETENSORS
from unmel.service.wire.codecs import BASE64_DTYPES, NPY
from unmel.service.wire.formats import FORMATS
from unmel.service.wire.problems import MEDIA_TYPE
from unmel.service.wire.requests import LONGEST_DEADLINE_MS
from unmel.service.wire.schemas import (
    AnalyzeOptions,
    ChunkedOptions,
    ReconstructOptions,
)

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "The field at fault."},
        "got": {"type": "string", "description": "What came."},
        "expected": {"type": "string", "description": "What would do."},
        "fits": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Presets that a refused mel would fit, likeliest first.",
        },
        "request_id": {"type": "string"},
        "estimate_seconds": {
            "type": "number",
            "description": "In how many seconds the answer would have come, or been begun.",
        },
    },
}


def _problem(description: str, **headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}},
        "headers": _headers(headers),
    }


def _headers(meanings: Mapping[str, str]) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {"schema": {"type": "string"}, "description": text}
        for name, text in meanings.items()
    }


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _problem("Bytes that are not what they claim to be."),
    408: _problem("The body did not come in time."),
    413: _problem("More than a limit allows."),
    415: _problem("A media type that is not read here."),
    422: _problem("A wrong mel or option: the problem names the field."),
    500: _problem("A fault of the service."),
    503: _problem(
        "Not now: it could not be answered in time, too much waits, a lane was lost, the device "
        "has no memory, or the service shuts down.",
        Retry_After="Whole seconds after which to come back.",
    ),
}
_QUEUE: dict[int | str, dict[str, Any]] = {
    406: _problem("An Accept header that no audio format here fits."),
    504: _problem("The deadline passed in the queue; nothing was computed."),
}
NO_PRESET: dict[int | str, dict[str, Any]] = {404: _problem("No preset of that name.")}

_BINARY = {"type": "string", "format": "binary"}


def _schemas(model: type[ReconstructOptions] | type[AnalyzeOptions]) -> dict[str, Any]:
    """Each option's schema, as a member of a JSON body."""
    schemas = {}
    for name, schema in model.model_json_schema()["properties"].items():
        schemas[name] = {k: v for k, v in schema.items() if k != "title"}
        names = schemas[name].get("enum")
        if names and any(kind.get("type") == "null" for kind in schema.get("anyOf", ())):
            schemas[name]["enum"] = [*names, None]
    schemas["config"] = {
        "anyOf": [
            {"type": "string", "enum": list(PRESETS)},
            {"$ref": f"#/components/schemas/{MelConfig.__name__}"},
        ],
        "description": "A preset's name or a MelConfig (see /presets).",
    }
    return schemas


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an option in a form: objects travel as their JSON text."""
    if schema.get("type") != "object" and "$ref" not in str(schema):
        return schema
    names = [kind for kind in schema.get("anyOf", ()) if "enum" in kind]
    text = {"type": "string", "description": "The JSON of an object."}
    description = schema.get("description", "") + " Objects as JSON."
    return {"anyOf": [*names, text], "description": description}


def _query(model: type[ReconstructOptions] | type[AnalyzeOptions]) -> list[dict[str, Any]]:
    """The options as query parameters."""
    parameters = []
    for name, schema in _schemas(model).items():
        entry = {"name": name, "in": "query", "required": False}
        description = schema.get("description", "")
        bare = {k: v for k, v in _as_text(schema).items() if k != "description"}
        parameters.append({**entry, "description": description, "schema": bare})
    return parameters


def _array(description: str) -> dict[str, Any]:
    """An array in a JSON body."""
    return {
        "anyOf": [
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            {
                "type": "object",
                "required": ["data", "shape"],
                "additionalProperties": False,
                "properties": {
                    "data": {"type": "string", "format": "byte"},
                    "dtype": {"enum": list(BASE64_DTYPES), "default": "float32"},
                    "shape": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 0},
                        "minItems": 1,
                        "maxItems": 3,
                    },
                },
            },
        ],
        "description": f"{description}: nested lists, or little-endian base64.",
    }


def _reconstruct_body() -> dict[str, Any]:
    options = _schemas(ReconstructOptions)
    members = {
        "mel": _array("The mel [n_mels, frames]"),
        "phases": _array("First phases [n_fft/2 + 1, frames] in radians"),
        **options,
    }
    fields = {
        "mel": _BINARY,
        "phases": _BINARY,
        **{name: _as_text(schema) for name, schema in options.items()},
    }
    return {
        "required": True,
        "content": {
            **{media: {"schema": _BINARY} for media in (NPY, NPZ, SAFETENSORS)},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["mel"],
                    "properties": members,
                    "additionalProperties": False,
                }
            },
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["mel"], "properties": fields}
            },
        },
    }


_HEADERS_OUT = {
    "X-Sample-Rate": "Samples a second.",
    "X-Audio-Seconds": "Length of the audio.",
    "X-Gain": "What the samples were multiplied by, if they were.",
    "X-Warning": "What the caller should know; may repeat.",
    "X-Pack-Items": "Requests that were computed together with this one, itself counted.",
    "Server-Timing": "decode, queue, compute and encode in ms.",
    "X-Request-ID": "Echoed or made.",
}
EXPOSED_HEADERS = (*_HEADERS_OUT, "Retry-After")

_DEADLINE = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "required": False,
    "description": "Milliseconds from now in which the answer is wanted: 503 at once if it cannot "
    "be had, 504 if it missed it in the queue. The service's own deadline stays the longest.",
    "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_DEADLINE_MS},
}

_STREAM = [
    {
        "name": "stream",
        "in": "query",
        "required": False,
        "description": "true: the answer comes in chunks, as it is made; of the other options "
        + ", ".join(ChunkedOptions.model_fields)
        + " go with it, and a body of frames, application/x-f32le, that is read as it comes.",
        "schema": {"type": "boolean", "default": False},
    },
    {
        "name": "lookahead",
        "in": "query",
        "required": False,
        "description": "With stream: " + str(ChunkedOptions.model_fields["lookahead"].description),
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LOOKAHEAD},
    },
]

_AUDIO_OUT = {
    "description": "The audio, or npy for output magnitude and stft.",
    "content": {
        media: {"schema": _BINARY}
        for media in sorted({form.media_type.split(";")[0] for form in FORMATS.values()} | {NPY})
    },
    "headers": _headers(_HEADERS_OUT),
}

RECONSTRUCT: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: _AUDIO_OUT, **_REFUSALS, **_QUEUE},
    "openapi_extra": {
        "parameters": [*_query(ReconstructOptions), *_STREAM, _DEADLINE],
        "requestBody": _reconstruct_body(),
    },
}

ANALYZE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "The mel.",
            "content": {"application/x-npy": {"schema": _BINARY}},
            "headers": _headers(
                {k: _HEADERS_OUT[k] for k in ("Server-Timing", "X-Warning", "X-Request-ID")}
            ),
        },
        **_REFUSALS,
        504: _QUEUE[504],
    },
    "openapi_extra": {
        "parameters": [*_query(AnalyzeOptions), _DEADLINE],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["audio"],
                        "properties": {"audio": _BINARY, "config": {"type": "string"}},
                    }
                },
                "audio/*": {"schema": _BINARY},
            },
        },
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
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_V2_ERROR = _json(
    {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Why not.",
)
_V2_HEALTH = _json({"type": "object"}, "Whether it is.")
_V2_TENSORS = {
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "application/octet-stream": {"schema": _BINARY},
    }
}

V2: dict[str, Any] = {"responses": {404: _V2_ERROR}}
V2_HEALTH: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: _V2_HEALTH, 503: _V2_HEALTH, 404: _V2_ERROR},
}
V2_INFER: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "The tensor `audio`.",
            "headers": _headers({"Server-Timing": _HEADERS_OUT["Server-Timing"]}),
            **_V2_TENSORS,
        },
        **{status: _V2_ERROR for status in (404, *_REFUSALS, *_QUEUE) if status != 406},
    },
    "openapi_extra": {"requestBody": {"required": True, **_V2_TENSORS}},
}


def ask_for_keys(app: FastAPI) -> None:
    """Let the document say that every path but the open ones wants a key."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        made = plain()
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        refused = _problem("No key, or an unknown one.", WWW_Authenticate="Bearer")
        for path, operations in made["paths"].items():
            for operation in operations.values():
                if path not in OPEN_PATHS:
                    operation["security"] = [{"key": []}]
                    operation["responses"]["401"] = refused
        return made

    app.openapi = document  # type: ignore[method-assign] # as FastAPI's documentation has it
