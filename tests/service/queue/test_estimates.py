"""What the lanes are expected to take: learnt from packs, forgotten with time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from unmel.service.queue.estimates import SpeedEstimator


@dataclass(frozen=True)
class Item:
    """The two properties of work that estimates use."""

    cost: float
    speed_key: str = "consistent"


def item(frames: int, method: str = "consistent") -> Item:
    return Item(1e4 * frames, method)


LONG = item(frames=1000)


def learnt(*packs: tuple[Item, float], now: float = 0.0) -> SpeedEstimator:
    rates = SpeedEstimator()
    for one, seconds in packs:
        rates.observe([one], seconds, now)
    return rates


def test_before_anything_was_measured_there_is_a_guess_that_says_so() -> None:
    estimate = SpeedEstimator().estimate(LONG, 0.0)
    assert estimate.seconds > 0
    assert not estimate.measured


def test_a_rate_follows_what_packs_take() -> None:
    rates = learnt(*[(LONG, 0.5)] * 50)
    estimate = rates.estimate(LONG, 0.0)
    assert estimate.measured
    assert estimate.seconds == pytest.approx(0.5, rel=0.05)
    assert rates.estimate(item(frames=2000), 0.0).seconds == pytest.approx(1.0, rel=0.05)


def test_a_tiny_request_says_little_about_the_speed_of_long_ones() -> None:
    before = SpeedEstimator().estimate(LONG, 0.0).seconds
    rates = learnt((item(frames=1), 0.05))  # mostly overhead
    assert rates.estimate(LONG, 0.0).seconds < 1.5 * before


def test_what_was_never_seen_is_taken_to_be_as_fast_as_the_rest() -> None:
    rates = learnt(*[(LONG, 0.005)] * 5000)
    other = item(frames=1000, method="griffin_lim")
    estimate = rates.estimate(other, 0.0)
    assert not estimate.measured
    assert estimate.seconds == pytest.approx(0.005 * other.cost / LONG.cost, rel=0.1)


def test_a_measurement_that_nobody_has_confirmed_for_a_minute_counts_as_a_guess() -> None:
    rates = learnt((LONG, 300.0), now=1000.0)
    assert rates.estimate(LONG, 1030.0).measured
    assert not rates.estimate(LONG, 1090.0).measured
