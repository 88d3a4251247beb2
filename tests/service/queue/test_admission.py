"""Who is let in, as tables: no clock, no queue."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases import CASES
from unmel.service.queue.admission import Load, refusal, wait_seconds


@pytest.mark.parametrize(
    ("busy", "queued", "wait"),
    [
        ((0.0,), 0.0, 0.0),
        ((0.0,), 6.0, 6.0),
        ((4.0,), 6.0, 10.0),
        # A lane that is free takes what waits, however long another one is at it.
        ((0.0, 100.0), 0.0, 0.0),
        ((0.0, 100.0), 6.0, 6.0),
        # What waits is shared by the lanes that become free before it is done.
        ((1.0, 3.0), 6.0, 5.0),
        ((2.0, 2.0), 6.0, 5.0),
        ((1.0, 2.0, 50.0), 4.0, 3.5),
        ((), 0.0, math.inf),
    ],
)
def test_the_wait_for_a_lane(busy: tuple[float, ...], queued: float, wait: float) -> None:
    assert wait_seconds(Load(busy, queued)) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("load", "seconds", "deadline", "reason"),
    [
        (Load((0.0,), 0.0), 1.0, 10.0, None),
        (Load((0.0,), 9.0), 1.0, 10.0, None),
        (Load((0.0,), 9.5), 1.0, 10.0, "deadline"),
        # What runs counts as much as what waits, and so does the request's own work.
        (Load((9.5,), 0.0), 1.0, 10.0, "deadline"),
        (Load((0.0,), 0.0), 11.0, 10.0, "deadline"),
        # Work that was never measured is not held against a request, nor is what is not known.
        (Load((0.0,), 9.5), 0.0, 10.0, None),
        (Load((0.0,), 21.0), 0.0, 1000.0, "queue"),
        (Load((), 0.0), 0.0, 1000.0, "lanes"),
    ],
)
def test_who_is_refused_and_why(
    load: Load, seconds: float, deadline: float, reason: str | None
) -> None:
    refused = refusal(load, seconds, deadline, max_wait=20.0)
    assert (refused.reason if refused else None) == reason


def test_a_refusal_says_when_to_come_back_and_what_the_answer_would_have_taken() -> None:
    refused = refusal(Load((3.0,), 4.0), 5.0, 10.0, max_wait=20.0)
    assert refused is not None
    assert (refused.retry_after, refused.estimate) == (2.0, 12.0)
    full = refusal(Load((3.0,), 40.0), 5.0, 1000.0, max_wait=20.0)
    assert full is not None
    assert (full.retry_after, full.estimate) == (23.0, 43.0)


TIMES = st.lists(st.floats(0, 1000), min_size=1, max_size=8).map(tuple)


@settings(max_examples=500)
@given(busy=TIMES, queued=st.floats(0, 1000))
def test_the_wait_lies_between_the_first_free_lane_and_all_work_on_one(
    busy: tuple[float, ...], queued: float
) -> None:
    CASES["policy"] += 1
    wait = wait_seconds(Load(busy, queued))
    poured = sum(max(0.0, wait - at) for at in busy)
    assert min(busy) <= wait <= min(busy) + queued + 1e-9
    assert poured == pytest.approx(queued, abs=1e-6)


@settings(max_examples=500)
@given(busy=TIMES, queued=st.floats(0, 1000), more=st.floats(0, 100), seconds=st.floats(0, 100))
def test_more_work_never_makes_room(
    busy: tuple[float, ...], queued: float, more: float, seconds: float
) -> None:
    CASES["policy"] += 1
    if refusal(Load(busy, queued), seconds, 60.0, 20.0) is not None:
        assert refusal(Load(busy, queued + more), seconds, 60.0, 20.0) is not None
        assert refusal(Load(busy, queued), seconds + more, 60.0, 20.0) is not None
