"""OpenAPI of options and bodies: query parameters, forms, JSON and array files."""

from __future__ import annotations

import json
from typing import Any

from unmel.models.mel import PRESETS, MelConfig
from unmel.service.web.openapi_problems import component
from unmel.service.wire.codecs import BASE64_DTYPES, MAX_AXES
from unmel.service.wire.media import FORM, JSON, NPY, NPZ, OCTET_STREAM, SAFETENSORS
from unmel.service.wire.schemas import AnalyzeOptions, ReconstructOptions

BINARY = {"type": "string", "format": "binary"}

Options = type[ReconstructOptions] | type[AnalyzeOptions]


def _schemas(model: Options) -> dict[str, Any]:
    """Schema of each option in a JSON body."""
    schemas = {}
    for name, schema in model.model_json_schema()["properties"].items():
        schemas[name] = {k: v for k, v in schema.items() if k != "title"}
        if {"type": "null"} in schema.get("anyOf", ()) and "enum" in schema:
            named = {"type": "string", "enum": schemas[name].pop("enum")}
            schemas[name]["anyOf"] = [named, {"type": "null"}]
    schemas["config"] = {
        "anyOf": [
            component("PresetName"),
            component(MelConfig.__name__),
        ],
        "description": "A preset's name or a MelConfig (see /presets).",
    }
    return schemas


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Schema of an option in a form or a query, where an object is JSON text."""
    names = [kind for kind in schema.get("anyOf", ()) if kind == component("PresetName")]
    if schema.get("type") != "object" and len(names) == str(schema).count("$ref"):
        return schema
    text = {"type": "string", "description": "An object as JSON."}
    description = schema.get("description", "") + " Objects as JSON."
    return {"anyOf": [*names, text], "description": description}


def _plain(default: object) -> str:
    """A default as it would be written in a query."""
    return default if isinstance(default, str) else json.dumps(default)


def query_parameters(model: Options) -> list[dict[str, Any]]:
    """Document options as query parameters.

    A default is in the description alone: generated clients send what a schema gives as one, and an
    option that is in the query and in the body is refused. An object is JSON, which OpenAPI calls a
    parameter with a content.
    """
    parameters = []
    for name, schema in _schemas(model).items():
        entry = {"name": name, "in": "query", "required": False}
        description = schema.get("description", "")
        if schema.get("default") not in (None, {}):
            description += f" Default: {_plain(schema['default'])}."
        if schema.get("type") == "object":
            content = {JSON: {"schema": {"type": "object"}}}
            parameters.append({**entry, "description": description, "content": content})
            continue
        shown = _as_text(schema)
        bare = {k: v for k, v in shown.items() if k not in ("description", "default")}
        parameters.append({**entry, "description": description, "schema": bare})
    return parameters


def _array(description: str) -> dict[str, Any]:
    """Schema of an array in a JSON body."""
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
                        "maxItems": MAX_AXES,
                    },
                },
            },
        ],
        "description": f"{description}: nested lists, or little-endian base64.",
    }


def _object(required: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": [required], "properties": properties, **more}


def body_schemas() -> dict[str, Any]:
    """Schemas of the bodies by the names that they have among the document's components."""
    options = _schemas(ReconstructOptions)
    options["stream"] = {"type": "boolean", "description": "As in the query string."}
    options["lookahead"] = {"type": "integer", "minimum": 1, "description": "With `stream`."}
    members = {
        "mel": _array("The mel [n_mels, frames]"),
        "phases": _array("First phases [n_fft/2 + 1, frames] in radians"),
        **options,
    }
    fields = {
        "mel": BINARY,
        "phases": BINARY,
        "filterbank": BINARY,
        **{name: _as_text(schema) for name, schema in options.items()},
    }
    audio = {"audio": BINARY, "filterbank": BINARY, "config": {"type": "string"}}
    return {
        "PresetName": {"type": "string", "enum": list(PRESETS)},
        "ReconstructJson": _object("mel", members, additionalProperties=False),
        "ReconstructForm": _object("mel", fields),
        "AnalyzeForm": _object("audio", audio),
    }


def reconstruct_body() -> dict[str, Any]:
    """Document the bodies of `POST /reconstruct`."""
    return {
        "required": True,
        "content": {
            **{media: {"schema": BINARY} for media in (NPY, NPZ, SAFETENSORS, OCTET_STREAM)},
            JSON: {"schema": component("ReconstructJson")},
            FORM: {"schema": component("ReconstructForm")},
        },
    }


def analyze_body() -> dict[str, Any]:
    """Document the bodies of `POST /analyze`."""
    return {
        "required": True,
        "content": {
            FORM: {"schema": component("AnalyzeForm")},
            "audio/*": {"schema": BINARY},
        },
    }
