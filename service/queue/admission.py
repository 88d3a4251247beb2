"""Who is let in: a pure function of the load, the request's cost and its deadline."""

from __future__ import annotations

from dataclasses import dataclass

from unmel.service.errors import Overloaded


@dataclass(frozen=True)
class Load:
    """What a request finds in front of it."""

    busy: tuple[float, ...]
    """Seconds until each working lane is free; empty when none works."""
    queued: float
    """Seconds that one lane would need for all that waits."""


def wait_seconds(load: Load) -> float:
    """Seconds until a request that comes now is started.

    The waiting work is poured over the lanes, the one that is free first gets it first: the
    level that it reaches is where the next request starts.
    """
    poured = load.queued
    free = sorted(load.busy)
    for lanes, at in enumerate(free, start=1):
        poured += at
        level = poured / lanes
        if lanes == len(free) or level <= free[lanes]:
            return level
    return float("inf")


def refusal(
    load: Load,
    seconds: float | None,
    deadline: float,
    max_wait: float,
    caution: float = 1.0,
) -> Overloaded | None:
    """Why a request cannot be taken on, or None if it can.

    `seconds` is what a lane would take for it, None where that was not measured yet; `deadline`
    is how many seconds from now it must be answered. Times are taken to be short by the factor
    `caution`. A request that cannot be answered in time is refused at once, rather than computed
    for nobody.
    """
    if not load.busy:
        return Overloaded("lanes", "No lane works at the moment.", 1.0)
    wait = caution * wait_seconds(load)
    if wait > max_wait:
        return Overloaded(
            "queue",
            f"A request would wait about {wait:.1f} s to be started; at most {max_wait:g} s "
            "of work is taken on.",
            wait - max_wait,
            wait,
        )
    estimate = wait + caution * (seconds or 0.0)
    if estimate > deadline:
        return Overloaded(
            "deadline",
            f"An answer would take about {estimate:.1f} s; the deadline is {deadline:.1f} s.",
            estimate - deadline,
            estimate,
        )
    return None
