"""Admission: a pure function of the load, a request's cost and its deadline."""

from __future__ import annotations

from dataclasses import dataclass

from unmel.service.errors import Overloaded


@dataclass(frozen=True)
class Load:
    """Work ahead of a new request."""

    busy: tuple[float, ...]
    """Seconds until each working lane is free; empty if no lane works."""
    queued: float
    """Seconds that one lane needs for the queue."""


def wait_seconds(load: Load) -> float:
    """Estimate the time until a new request starts.

    The queued work fills the lanes like water, the one that is free first gets it first; its
    level is the time at which the next request starts.

    Parameters
    ----------
    load
        Work ahead of the request.

    Returns
    -------
    Seconds; infinite if no lane works.

    """
    total = load.queued
    free = sorted(load.busy)
    for lanes, at in enumerate(free, start=1):
        total += at
        level = total / lanes
        if lanes == len(free) or level <= free[lanes]:
            return level
    return float("inf")


def refusal(
    load: Load,
    seconds: float,
    deadline: float,
    max_wait: float,
    margin: float = 1.0,
) -> Overloaded | None:
    """Decide whether a request is refused.

    A request that cannot be answered in time is refused at once instead of being computed in vain.

    Parameters
    ----------
    load
        Work ahead of the request.
    seconds
        Time that a lane needs for the request; 0 if it is not known.
    deadline
        Seconds from now until the answer is due.
    max_wait
        Longest allowed wait until the start, seconds.
    margin
        Factor on every estimate.

    Returns
    -------
    The reason for a refusal, or None if the request is accepted.

    """
    if not load.busy:
        return Overloaded("lanes", "No lane works at the moment.", 1.0)
    wait = margin * wait_seconds(load)
    if wait > max_wait:
        return Overloaded(
            "queue",
            f"A request would wait about {wait:.1f} s before it starts; the queue is limited to "
            f"{max_wait:g} s of work.",
            wait - max_wait,
            wait,
        )
    estimate = wait + margin * seconds
    if estimate > deadline:
        return Overloaded(
            "deadline",
            f"An answer would take about {estimate:.1f} s; the deadline is {deadline:.1f} s.",
            estimate - deadline,
            estimate,
        )
    return None
