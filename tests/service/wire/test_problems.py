"""Problems: the body and status of every exception, without internals."""

from __future__ import annotations

import json

import pytest

from unmel.models.errors import Invalid, NonFiniteOutput, TooLarge
from unmel.service.errors import DeadlineMissed, LaneLost, NotFound, Overloaded, Unauthorized
from unmel.service.wire import problems


@pytest.mark.parametrize(
    ("error", "status", "close_code", "grpc"),
    [
        (Invalid("mel", "nothing", "a mel"), 422, 1008, "INVALID_ARGUMENT"),
        (TooLarge("mel", "much", "less"), 413, 1008, "INVALID_ARGUMENT"),
        (NotFound("name", "x", "y"), 404, 1008, "NOT_FOUND"),
        (NonFiniteOutput("nan"), 422, 1008, "INVALID_ARGUMENT"),
        (Unauthorized(given=False), 401, 1008, "UNAUTHENTICATED"),
        (Overloaded("queue", "full", 1.0), 503, 1013, "RESOURCE_EXHAUSTED"),
        (Overloaded("draining", "down", 1.0), 503, 1013, "UNAVAILABLE"),
        (LaneLost("died"), 503, 1013, "UNAVAILABLE"),
        (DeadlineMissed("late"), 504, 1011, "DEADLINE_EXCEEDED"),
        (RuntimeError("any"), 500, 1011, "INTERNAL"),
    ],
)
def test_every_exception_has_a_status_a_close_code_and_one_of_grpc(
    error: Exception, status: int, close_code: int, grpc: str
) -> None:
    assert problems.status_of(error) == status
    assert problems.close_code_of(error) == close_code
    assert problems.grpc_code_of(error) == grpc


def test_a_fault_of_the_service_says_nothing_of_the_inside() -> None:
    body = problems.problem_body(RuntimeError("secret path /srv/x"), 500)
    assert "secret" not in json.dumps(body)
    assert body["detail"] == "Internal error; the request is not at fault."
