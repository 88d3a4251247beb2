"""Limits over all requests: bytes in memory and open streams."""

from __future__ import annotations

import pytest

from unmel.service.errors import Overloaded
from unmel.service.ops.limits import MemoryBudget, StreamLimit


def test_reservations_share_the_budget_and_release_it() -> None:
    budget = MemoryBudget(100)
    with budget.reserve() as first, budget.reserve() as second:
        first.resize(60)
        second.resize(40)
        assert budget.held == 100
        with pytest.raises(Overloaded) as refused:
            second.resize(41)
        assert refused.value.reason == "memory"
        first.resize(10)
        second.resize(90)
    assert budget.held == 0


def test_a_request_that_is_alone_may_exceed_the_budget() -> None:
    budget = MemoryBudget(100)
    with budget.reserve() as alone:
        alone.resize(1000)
        with budget.reserve() as other, pytest.raises(Overloaded):
            other.resize(1)


def test_streams_beyond_the_limit_are_refused_until_one_ends() -> None:
    limit = StreamLimit(1)
    with limit.acquire():
        with pytest.raises(Overloaded) as refused, limit.acquire():
            pass
        assert refused.value.reason == "streams"
    with limit.acquire():
        assert limit.open == 1
    assert limit.open == 0
