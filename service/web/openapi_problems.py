"""OpenAPI of problems: refusals and failures, by status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmel.service.wire.media import PROBLEM

Responses = dict[int | str, dict[str, Any]]
"""Documentation of answers by status."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "Name of the faulty field."},
        "got": {"type": "string", "description": "Value of the request."},
        "expected": {"type": "string", "description": "Valid values."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "got", "expected"],
                "properties": {name: {"type": "string"} for name in ("field", "got", "expected")},
            },
            "description": "All faults, where there are several; the members above are the first.",
        },
        "fits": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Presets that a refused mel matches, most likely first.",
        },
        "request_id": {"type": "string"},
        "estimate_seconds": {
            "type": "number",
            "description": "Estimated seconds until the answer, or until its start.",
        },
    },
}
"""Schema of a problem, which the document holds once, as the component `Problem`."""


def component(name: str) -> dict[str, str]:
    """Refer to a schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def headers(meanings: Mapping[str, str]) -> dict[str, Any]:
    """Document headers.

    Parameters
    ----------
    meanings
        Descriptions by name.

    """
    return {
        name: {"schema": {"type": "string"}, "description": text} for name, text in meanings.items()
    }


def problem(description: str, meanings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Document an answer of problem+json.

    Parameters
    ----------
    description
        Meaning of the status.
    meanings
        Descriptions of its headers by name.

    """
    return {
        "description": description,
        "content": {PROBLEM: {"schema": component("Problem")}},
        "headers": headers(meanings or {}),
    }


REFUSALS: Responses = {
    400: problem("Bytes that do not match their format."),
    408: problem("The body did not arrive in time."),
    413: problem("A limit is exceeded."),
    415: problem("The media type is not supported."),
    422: problem("A faulty mel or option; the problem names the field."),
    500: problem("Internal error."),
    503: problem(
        "A temporary refusal: the deadline cannot be met, the queue is full, a lane was lost, the "
        "device is out of memory, or the service is shutting down.",
        {"Retry-After": "Seconds after which to try again."},
    ),
}
QUEUE: Responses = {
    406: problem("No audio format matches the Accept header."),
    504: problem("The deadline passed in the queue; nothing was computed."),
}
NO_PRESET: Responses = {404: problem("No preset has this name.")}
NO_FILTERBANK: Responses = {
    404: problem("The filterbank that the config names is not held here: send the array again.")
}
UNAUTHORIZED: Responses = {
    401: problem("The key is missing or invalid.", {"WWW-Authenticate": "Bearer"})
}
