"""The policy under load in made-up time: requests, lanes and a clock that only a test moves."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmel.service.queue.admission import Load, refusal, wait_seconds
from unmel.service.queue.batching import Policy, Waiting, decide
from unmel.service.queue.estimates import EstimateMargin

LANES = 2
POLICY = Policy(max_pack_bytes=20_000, max_pack_seconds=2.0, lanes=LANES)
LENGTHS = (0.2, 0.5, 1.0, 1.5, 2.5, 4.0)
"""Seconds that a lane takes for a request."""
DEADLINE = 10.0


@dataclass
class Outcome:
    """What came of a load; work in seconds of a lane."""

    asked: int = 0
    good: float = 0.0
    wasted: float = 0.0
    """Computed, but too late."""
    refused: int = 0
    missed: int = 0
    waits: list[float] = field(default_factory=list)
    longest_queue: float = 0.0
    work: float = 0.0


def simulate(load: float, seconds: float, error: float, max_wait: float = 20.0) -> Outcome:
    """Arrivals at random, `load` times what the lanes can do; estimates are wrong by up to the
    share `error`, and the lanes by as much from one pack to the next.
    """
    rng = random.Random(3)  # noqa: S311 - the same arrivals every time
    rate = load * LANES / (sum(LENGTHS) / len(LENGTHS))
    arrivals, now = [], 0.0
    while (now := now + rng.expovariate(rate)) < seconds:
        arrivals.append((now, rng.choice(LENGTHS)))
    outcome, queue = Outcome(asked=len(arrivals)), []
    true: dict[int, float] = {}
    margin, estimates = EstimateMargin(), dict[int, float]()
    free, expected = [0.0] * LANES, [0.0] * LANES
    events = [(at, n, length) for n, (at, length) in enumerate(arrivals)]
    heapq.heapify(events)

    def dispatch(now: float) -> None:
        nonlocal queue
        for lane in range(LANES):
            if free[lane] > now:
                continue
            decision = decide(queue, now, POLICY)
            queue = list(decision.rest)
            outcome.missed += len(decision.expired)
            for w in decision.expired:
                margin.observe(estimates[w.id], math.inf)
            if not decision.pack:
                continue
            pack_seconds = sum(true[w.id] for w in decision.pack) * rng.uniform(
                1 - error, 1 + error
            )
            free[lane] = now + pack_seconds
            expected[lane] = now + sum(w.seconds for w in decision.pack)
            heapq.heappush(events, (free[lane], -1, 0.0))
            for w in decision.pack:
                outcome.waits.append(free[lane] - w.arrived)
                margin.observe(estimates[w.id], free[lane] - w.arrived)
                if free[lane] <= w.arrived + DEADLINE:
                    outcome.good += true[w.id]
                else:
                    outcome.wasted += true[w.id]
                outcome.work += true[w.id]

    while events:
        now, n, length = heapq.heappop(events)
        if n >= 0:
            estimate = length * rng.uniform(1 - error, 1 + error)
            busy = tuple(max(0.0, at - now) for at in expected)
            ahead = Load(busy, sum(w.seconds for w in queue))
            if refusal(ahead, estimate, DEADLINE, max_wait, margin.factor) is not None:
                outcome.refused += 1
            else:
                true[n] = length
                estimates[n] = wait_seconds(ahead) + estimate
                start_by = now + DEADLINE - estimate
                queue.append(Waiting(n, "a", 100, estimate, now, start_by))
                outcome.longest_queue = max(outcome.longest_queue, sum(w.seconds for w in queue))
        dispatch(now)
    return outcome


@pytest.mark.parametrize("error", [0.0, 0.2, 0.5])
def test_goodput_under_overload_is_that_of_full_lanes(error: float) -> None:
    goodput = {load: simulate(load, 2000.0, error).good / 2000.0 for load in (0.5, 0.9, 1.5, 3.0)}
    assert goodput[0.5] >= 0.85 * 0.5 * LANES
    assert goodput[3.0] >= 0.95 * max(goodput.values())
    assert goodput[3.0] >= 0.95 * LANES


@pytest.mark.parametrize("load", [1.5, 3.0, 10.0])
def test_who_is_let_in_is_nearly_always_answered_in_time(load: float) -> None:
    outcome = simulate(load, 2000.0, error=0.2)
    assert outcome.refused > 0
    assert outcome.missed <= 0.01 * (outcome.asked - outcome.refused)
    assert outcome.wasted <= 0.05 * outcome.work


def test_the_queue_is_bounded_in_seconds_of_work_whatever_comes() -> None:
    patient = simulate(10.0, 500.0, error=0.2, max_wait=3.0)
    assert patient.longest_queue <= LANES * (3.0 + max(LENGTHS) * 1.2)
    assert max(patient.waits) < DEADLINE


@given(outcomes=st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1000)), max_size=200))
def test_the_margin_stays_within_its_bounds(outcomes: list[tuple[float, float]]) -> None:
    margin = EstimateMargin()
    for estimate, actual in outcomes:
        margin.observe(estimate, actual)
    assert 1.0 <= margin.factor <= 4.0


def test_the_margin_grows_until_nearly_all_answers_keep_within_it_and_then_goes_back() -> None:
    rng, margin = random.Random(4), EstimateMargin()  # noqa: S311 - the same every time
    for _ in range(5000):
        margin.observe(10.0, 10.0 * rng.uniform(0.5, 2.0))
    assert margin.factor == pytest.approx(1.925, abs=0.15)  # the 95th percentile
    for _ in range(5000):
        margin.observe(10.0, 5.0)
    assert margin.factor == 1.0
