"""One table from exceptions to statuses, and the problem+json (RFC 9457) made of each."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import Invalid, TooLarge, Unreadable

logger = logging.getLogger("unmel.problems")

# Faults that one answer names.
_MOST_FAULTS = 16

MEDIA_TYPE = "application/problem+json"


class UnsupportedMedia(Invalid):
    """A body of a media type that the route does not read."""


class NotFound(Invalid):
    """A name in the path that nothing has."""


class Overloaded(Exception):
    """More work waits than can be taken on; `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class DeadlineMissed(Exception):
    """The request waited longer than its deadline and was not computed."""


# Looked up along the exception's bases, so a subclass needs a row only where it differs.
STATUSES: dict[type[BaseException], int] = {
    Unreadable: 400,
    TooLarge: 413,
    NotFound: 404,
    UnsupportedMedia: 415,
    Invalid: 422,
    ValidationError: 422,
    RequestValidationError: 422,
    ClientDisconnect: 400,  # nobody is left to read it
    Overloaded: 503,
    DeadlineMissed: 504,
    Exception: 500,
}


def status_of(error: BaseException) -> int:
    """The HTTP status that an exception answers with."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def brief(value: object) -> str:
    """A value as it came, short enough to send back."""
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with {len(value)} members"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def faults_of(error: ValidationError | RequestValidationError) -> list[dict[str, str]]:
    """Every field that a validation refused: its name, what came, what would do."""
    faults = []
    for fault in islice(error.errors(), _MOST_FAULTS):
        if fault["type"] == "default_factory_not_called":
            continue  # a field that follows from a faulty one; the faulty one is named itself
        got, expected = brief(fault.get("input")), str(fault["msg"])
        if fault["type"] == "missing":
            got, expected = "nothing", "a value"
        elif fault["type"] == "extra_forbidden":
            expected = "no field of this name"
        for prefix in ("Value error, ", "Input should be "):
            expected = expected.removeprefix(prefix)
        field = ".".join(str(part)[:40] for part in fault["loc"] if part != "query")[:120]
        faults.append({"field": field or "body", "got": got, "expected": expected})
    return faults


def problem_body(error: BaseException, status: int) -> dict[str, Any]:
    """The members of the problem; a fault of the service's own says nothing of the inside."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": "Content Too Large" if status == 413 else HTTPStatus(status).phrase,
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
    elif status >= 500 and not isinstance(error, Overloaded | DeadlineMissed):
        body["detail"] = "The service failed; the request was not at fault."
    elif isinstance(error, HTTPException):
        body["detail"] = str(error.detail)
    else:
        body["detail"] = str(error)
    return body


def problem_response(request: Request, error: BaseException) -> Response:
    """The answer to a request that failed with `error`."""
    status = status_of(error)
    if status == 500:
        logger.error("request failed", exc_info=error)
    body = problem_body(error, status)
    request_id = getattr(request.state, "request_id", None)
    if request_id:
        body["request_id"] = request_id
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, HTTPException) and error.headers:
        headers |= dict(error.headers)
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Answer every exception of the table's kinds with its problem.

    What no row names is caught around the whole app, by the access middleware.
    """

    async def handle(request: Request, error: Exception) -> Response:
        return problem_response(request, error)

    for kind in (*STATUSES, HTTPException):
        if kind is not Exception:
            app.add_exception_handler(kind, handle)
