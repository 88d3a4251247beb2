"""Problems: the HTTP status of every exception, and its problem+json (RFC 9457)."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from itertools import islice
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from unmel.models.errors import Invalid, NonFiniteOutput, OutOfMemory, TooLarge, Unreadable
from unmel.service.errors import (
    DeadlineMissed,
    LaneLost,
    NotAcceptable,
    NotFound,
    Overloaded,
    SlowClient,
    Unauthorized,
    UnsupportedMedia,
)
from unmel.service.wire.media import PROBLEM

logger = logging.getLogger("unmel.problems")

# A member whose value is one of several kinds: pydantic puts the kind's name behind it.
_OF_KINDS = "scale"

# What would do, by pydantic's type of a fault.
_WANTED = {
    "missing": "a value",
    "extra_forbidden": "no field of this name",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "an object"),
    "string_type": "text",
    "finite_number": "a finite number",
}

# Largest number of faults in one answer.
_MAX_FAULTS = 16

_V2 = "/v2/"

ALL_FIELDS = "body"
"""Field of a fault that concerns all fields together."""


class Status(NamedTuple):
    """What an exception is for a client."""

    http: int
    grpc: str
    """Name of gRPC's code (https://grpc.github.io/grpc/core/md_doc_statuscodes.html)."""


_WRONG = "INVALID_ARGUMENT"
# Subclasses inherit the status of their base.
STATUSES: dict[type[BaseException], Status] = {
    Unreadable: Status(400, _WRONG),
    TooLarge: Status(413, _WRONG),  # clients try again on RESOURCE_EXHAUSTED, which is no use here
    NotFound: Status(404, "NOT_FOUND"),
    NotAcceptable: Status(406, _WRONG),
    UnsupportedMedia: Status(415, _WRONG),
    Invalid: Status(422, _WRONG),
    ValidationError: Status(422, _WRONG),
    RequestValidationError: Status(422, _WRONG),
    NonFiniteOutput: Status(422, _WRONG),
    ClientDisconnect: Status(499, "CANCELLED"),  # only for the log, as nginx writes it
    Unauthorized: Status(401, "UNAUTHENTICATED"),
    SlowClient: Status(408, "DEADLINE_EXCEEDED"),
    Overloaded: Status(503, "RESOURCE_EXHAUSTED"),
    LaneLost: Status(503, "UNAVAILABLE"),
    OutOfMemory: Status(503, "RESOURCE_EXHAUSTED"),
    DeadlineMissed: Status(504, "DEADLINE_EXCEEDED"),
    Exception: Status(500, "INTERNAL"),
}
# Reasons of `Overloaded` for which another process may well be free.
_ELSEWHERE = frozenset({"draining", "lanes"})

# Details for clients where the exception's own text is for the log.
_DETAILS: dict[type[BaseException], str] = {
    NonFiniteOutput: "The reconstruction overflowed with these options; a smaller momentum or "
    "other parameters may help.",
    OutOfMemory: "The device has not enough memory for this request at the moment.",
    ClientDisconnect: "The client closed the connection.",
}
_TITLES = {413: "Content Too Large", 499: "Client Closed Request"}

# Seconds after which a lane is likely to work again, or memory to be free.
_RECOVERY_SECONDS = 2.0


def status_of(error: BaseException) -> int:
    """HTTP status of an exception."""
    if isinstance(error, HTTPException):
        return error.status_code
    return _status(error).http


def grpc_code_of(error: BaseException) -> str:
    """Name of gRPC's status code for an exception."""
    if isinstance(error, Overloaded) and error.reason in _ELSEWHERE:
        return "UNAVAILABLE"
    return _status(error).grpc


def _status(error: BaseException) -> Status:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def close_code_of(error: BaseException) -> int:
    """Close code of a WebSocket for an exception.

    Returns
    -------
    1008 for a fault of the client, 1013 for a refusal that is temporary, 1011 for a fault of the
    service.

    References
    ----------
    RFC 6455, section 7.4, and IANA's registry of close codes.

    """
    status = status_of(error)
    return 1008 if status < 500 else 1013 if status == 503 else 1011


def brief(value: object) -> str:
    """Describe a value of a request in a few words, for an error message."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} members"
    if isinstance(shape := getattr(value, "shape", None), tuple):
        return f"an array {'x'.join(map(str, shape))}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_variant(part: int | str) -> bool:
    """Whether a part of a location is pydantic's name for one type of several."""
    return isinstance(part, str) and not part.isidentifier()


def _field_of(location: tuple[int | str, ...]) -> str:
    """The member as the client wrote it: a location without the names of variants."""
    parts = []
    for before, part in zip(("", *location), location, strict=False):
        kind = before == _OF_KINDS and part != "kind"
        if part not in ("query", "") and not kind and not _is_variant(part):
            parts.append(str(part)[:40])
    return ".".join(parts)[:120] or ALL_FIELDS


def _expected_by(fault: Any) -> str:
    """What would do, by a fault of pydantic's; some of its messages end in the fault itself."""
    if fault["type"] in _WANTED:
        return _WANTED[fault["type"]]
    expected = str(fault["msg"])
    for prefix in ("Value error, ", "Input should be "):
        expected = expected.removeprefix(prefix)
    return expected.split(" after validation")[0]


def faults_of(error: ValidationError | RequestValidationError) -> list[dict[str, str]]:
    """List the faults of a validation.

    Returns
    -------
    For each fault its `field`, the value it `got` and the one `expected`.

    """
    faults = []
    for fault in islice(error.errors(), _MAX_FAULTS):
        if fault["type"] == "default_factory_not_called":
            continue  # its default follows from a faulty field, which is listed itself
        field = _field_of(fault["loc"])
        got, expected = brief(fault.get("input")), _expected_by(fault)
        context = fault.get("ctx", {})
        if {"got", "expected"} <= set(context):
            got, expected = context["got"], context["expected"]
        elif fault["type"] == "missing":
            got = "nothing"
        elif fault["type"] == "float_type" and _is_variant(fault["loc"][-1]):
            if isinstance(fault.get("input"), list | tuple):
                continue  # the other variant's faults say which of its values is wrong
            expected = "a number, or a list of numbers"
        elif fault["type"] == "tuple_type" and _is_variant(fault["loc"][-1]):
            continue
        faults.append({"field": field, "got": got, "expected": expected})
    return faults


def problem_body(error: BaseException, status: int) -> dict[str, Any]:
    """Make the members of a problem; for a fault of the service they reveal no internals.

    Parameters
    ----------
    error
        The exception.
    status
        Its HTTP status.

    """
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
    }
    faults: list[dict[str, str]] = []
    if isinstance(error, Invalid):
        faults = [{"field": error.field, "got": error.got, "expected": error.expected}]
    elif isinstance(error, ValidationError | RequestValidationError):
        faults = faults_of(error)
    if faults:
        body["detail"] = "; ".join(
            f"{f['field']}: got {f['got']}; expected {f['expected']}" for f in faults[:8]
        )
        body |= faults[0]
        if len(faults) > 1:
            body["errors"] = faults
        if isinstance(error, Invalid) and error.fits:
            body["fits"], body["detail"] = list(error.fits), str(error)
    elif status == 500:
        body["detail"] = "Internal error; the request is not at fault."
    elif type(error) in _DETAILS:
        body["detail"] = _DETAILS[type(error)]
    elif isinstance(error, HTTPException):
        body["detail"] = str(error.detail)
    else:
        body["detail"] = str(error)
    if isinstance(error, Overloaded) and error.estimate is not None:
        body["estimate_seconds"] = round(error.estimate, 3)
    return body


def logged_problem(error: BaseException) -> dict[str, Any]:
    """Make the problem of an exception; a fault of the service is logged."""
    status = status_of(error)
    if status == 500:
        logger.error("request failed", exc_info=error)
    return problem_body(error, status)


def note_problem(request: Request, error: BaseException) -> dict[str, Any]:
    """Make the problem of a failed request.

    Parameters
    ----------
    request
        The request; a refusal is noted in its state, for the log and the metrics.
    error
        The exception that it failed with.

    """
    if isinstance(error, Overloaded):
        request.state.refused = error.reason
    return logged_problem(error)


def problem_response(request: Request, error: BaseException) -> Response:
    """Make the answer to a failed request; parameters as of `note_problem`."""
    body = note_problem(request, error)
    status = body["status"]
    request_id = getattr(request.state, "request_id", None)
    if request_id:
        body["request_id"] = request_id
    if request.url.path.startswith(_V2):  # the form of the Open Inference Protocol
        return JSONResponse({"error": body["detail"]}, status, _headers_of(error))
    return JSONResponse(body, status, _headers_of(error), PROBLEM)


def _headers_of(error: BaseException) -> dict[str, str]:
    if isinstance(error, HTTPException):
        return dict(error.headers or {})
    if isinstance(error, Unauthorized):
        fault = ', error="invalid_token"' if error.given else ""
        return {"WWW-Authenticate": f'Bearer realm="unmel"{fault}'}
    if isinstance(error, UnsupportedMedia) and error.field == "Content-Encoding":
        return {"Accept-Encoding": "gzip, deflate"}  # RFC 9110, section 15.5.16
    if isinstance(error, SlowClient):
        return {"Connection": "close"}  # the rest of the body would be read as a request
    seconds = retry_seconds(error)
    return {} if seconds is None else {"Retry-After": str(seconds)}


def retry_seconds(error: BaseException) -> int | None:
    """Seconds after which a client may try again; None where that is no use."""
    if status_of(error) != 503:
        return None
    seconds = error.retry_after if isinstance(error, Overloaded) else _RECOVERY_SECONDS
    return max(1, math.ceil(seconds))


def add_handlers(app: FastAPI) -> None:
    """Register a handler for every exception in `STATUSES`.

    Any other exception is caught by the access middleware.
    """

    async def handle(request: Request, error: Exception) -> Response:
        return problem_response(request, error)

    for kind in (*STATUSES, HTTPException):
        if kind is not Exception:
            app.add_exception_handler(kind, handle)
