"""The OpenAPI of the bodies and answers that the routes read and write by hand."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from service.codecs import BASE64_DTYPES
from service.problems import MEDIA_TYPE
from service.schemas import (
    AnalyzeOptions,
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
        "request_id": {"type": "string"},
    },
}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _problem("Bytes that are not what they claim to be."),
    413: _problem("More than a limit allows."),
    415: _problem("A media type that is not read here."),
    422: _problem("A wrong mel or option: the problem names the field."),
    500: _problem("A fault of the service."),
}
_QUEUE: dict[int | str, dict[str, Any]] = {
    503: _problem("Full or shutting down; Retry-After says when to come back."),
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
        "anyOf": [{"type": "string"}, {"type": "object"}],
        "description": "A preset's name or a MelConfig (see /presets).",
    }
    return schemas


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an option in a form: objects travel as their JSON text."""
    is_object = schema.get("type") == "object" or ("anyOf" in schema and "object" in str(schema))
    if not is_object:
        return schema
    return {"type": "string", "description": schema.get("description", "") + " JSON text."}


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
                "properties": {
                    "data": {"type": "string", "format": "byte"},
                    "dtype": {"enum": list(BASE64_DTYPES), "default": "float32"},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
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
            "application/x-npy": {"schema": _BINARY},
            "application/json": {
                "schema": {"type": "object", "required": ["mel"], "properties": members}
            },
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["mel"], "properties": fields}
            },
        },
    }


_AUDIO_OUT = {
    "description": "The audio, or npy for output magnitude and stft.",
    "content": {
        media: {"schema": _BINARY}
        for media in ("audio/wav", "audio/flac", "audio/pcm", "application/x-npy")
    },
    "headers": {
        name: {"schema": {"type": "string"}, "description": text}
        for name, text in (
            ("X-Sample-Rate", "Samples a second."),
            ("X-Audio-Seconds", "Length of the audio."),
            ("X-Gain", "What the samples were multiplied by, if they were."),
            ("X-Warning", "What the caller should know; may repeat."),
            ("X-Pack-Items", "Requests that were computed together with this one, itself counted."),
            ("Server-Timing", "decode, queue, compute and encode in ms."),
            ("X-Request-ID", "Echoed or made."),
        )
    },
}

RECONSTRUCT: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: _AUDIO_OUT, **_REFUSALS, **_QUEUE},
    "openapi_extra": {
        "parameters": _query(ReconstructOptions),
        "requestBody": _reconstruct_body(),
    },
}

ANALYZE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"description": "The mel.", "content": {"application/x-npy": {"schema": _BINARY}}},
        **_REFUSALS,
    },
    "openapi_extra": {
        "parameters": _query(AnalyzeOptions),
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
