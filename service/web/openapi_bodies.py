"""OpenAPI of options and bodies: query parameters, forms, JSON and array files."""

from __future__ import annotations

from typing import Any

from unmel.models.mel import PRESETS, MelConfig
from unmel.service.wire.codecs import BASE64_DTYPES, MAX_AXES
from unmel.service.wire.media import FORM, JSON, NPY, NPZ, SAFETENSORS
from unmel.service.wire.schemas import AnalyzeOptions, ReconstructOptions

BINARY = {"type": "string", "format": "binary"}

Options = type[ReconstructOptions] | type[AnalyzeOptions]


def _schemas(model: Options) -> dict[str, Any]:
    """Schema of each option in a JSON body."""
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
    """Schema of an option in a form or a query, where an object is JSON text."""
    if schema.get("type") != "object" and "$ref" not in str(schema):
        return schema
    names = [kind for kind in schema.get("anyOf", ()) if "enum" in kind]
    text = {"type": "string", "description": "An object as JSON."}
    description = schema.get("description", "") + " Objects as JSON."
    return {"anyOf": [*names, text], "description": description}


def query_parameters(model: Options) -> list[dict[str, Any]]:
    """Document options as query parameters."""
    parameters = []
    for name, schema in _schemas(model).items():
        entry = {"name": name, "in": "query", "required": False}
        description = schema.get("description", "")
        bare = {k: v for k, v in _as_text(schema).items() if k != "description"}
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


def reconstruct_body() -> dict[str, Any]:
    """Document the bodies of `POST /reconstruct`."""
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
    return {
        "required": True,
        "content": {
            **{media: {"schema": BINARY} for media in (NPY, NPZ, SAFETENSORS)},
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["mel"],
                    "properties": members,
                    "additionalProperties": False,
                }
            },
            FORM: {"schema": {"type": "object", "required": ["mel"], "properties": fields}},
        },
    }


def analyze_body() -> dict[str, Any]:
    """Document the bodies of `POST /analyze`."""
    return {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["audio"],
                    "properties": {
                        "audio": BINARY,
                        "filterbank": BINARY,
                        "config": {"type": "string"},
                    },
                }
            },
            "audio/*": {"schema": BINARY},
        },
    }
