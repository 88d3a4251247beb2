"""Problems: the body and status of every exception, without internals."""

from __future__ import annotations

import json

import pytest

from unmel.models.errors import Invalid, NonFiniteOutput, TooLarge
from unmel.service.errors import DeadlineMissed, LaneLost, NotFound, Overloaded, Unauthorized
from unmel.service.wire import problems


@pytest.mark.parametrize(
    ("error", "status", "close_code"),
    [
        (Invalid("mel", "nothing", "a mel"), 422, 1008),
        (TooLarge("mel", "much", "less"), 413, 1008),
        (NotFound("name", "x", "y"), 404, 1008),
        (NonFiniteOutput("nan"), 422, 1008),
        (Unauthorized(given=False), 401, 1008),
        (Overloaded("queue", "full", 1.0), 503, 1013),
        (LaneLost("died"), 503, 1013),
        (DeadlineMissed("late"), 504, 1011),
        (RuntimeError("any"), 500, 1011),
    ],
)
def test_every_exception_has_a_status_and_a_close_code(
    error: Exception, status: int, close_code: int
) -> None:
    assert problems.status_of(error) == status
    assert problems.close_code_of(error) == close_code


def test_a_fault_of_the_service_says_nothing_of_the_inside() -> None:
    body = problems.problem_body(RuntimeError("secret path /srv/x"), 500)
    assert "secret" not in json.dumps(body)
    assert body["detail"] == "Internal error; the request is not at fault."
