"""Batching: the next pack as a pure function of the queue, the time and the policy."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """Properties of a queued request that the decision needs."""

    id: int
    key: Hashable
    """Requests with equal keys may share a pack."""
    nbytes: int
    """Memory in a pack, bytes."""
    seconds: float
    """Estimated time of a lane for it."""
    arrived: float
    """Time of its arrival, seconds of the clock."""
    start_by: float
    """Latest start that still meets its deadline, seconds of the clock."""


@dataclass(frozen=True)
class Policy:
    """Bounds of a pack, and the time to wait for a fuller one."""

    max_pack_bytes: int
    max_pack_seconds: float
    lanes: int
    """Lanes that share the queue; each takes at most its share at once."""
    linger: float = 0.0
    """Seconds that a free lane waits for more requests to join a pack."""


@dataclass(frozen=True)
class Decision:
    """Outcome for every queued request, each part in the order of arrival."""

    pack: tuple[Waiting, ...]
    expired: tuple[Waiting, ...]
    rest: tuple[Waiting, ...]
    next_decision: float | None = None
    """Time of the next decision if no request arrives; set while a pack waits for more."""


def decide(queue: Sequence[Waiting], now: float, policy: Policy) -> Decision:
    """Choose the pack that a free lane takes now.

    Requests with one key form a group; groups are considered in the order of their oldest
    request, the head. A group is ready when its head has waited for the policy's `linger`, when a
    member must start now to meet its deadline, or when it fills a pack. The first ready group
    gives the pack, so that no group starves. With `linger` 0 every group is ready and the pack is
    that of the oldest request. Requests that can no longer meet their deadline expire.

    Parameters
    ----------
    queue
        Requests in the order of arrival.
    now
        Time of the clock, seconds.
    policy
        Bounds of a pack.

    """
    expired = tuple(w for w in queue if w.start_by < now)
    live = [w for w in queue if w.start_by >= now]
    groups: dict[Hashable, list[Waiting]] = {}
    for w in live:
        groups.setdefault(w.key, []).append(w)
    share = sum(w.seconds for w in live) / policy.lanes
    ready_times = []
    for group in groups.values():
        fullest = _fill(group, now, policy, policy.max_pack_seconds)
        ready = min(group[0].arrived + policy.linger, _latest_start(fullest))
        if ready <= now or len(fullest) < len(group):
            pack = _fill(fullest, now, policy, min(share, policy.max_pack_seconds))
            taken = {w.id for w in pack}
            return Decision(tuple(pack), expired, tuple(w for w in live if w.id not in taken))
        ready_times.append(ready)
    return Decision((), expired, tuple(live), min(ready_times, default=None))


def _fill(
    group: Sequence[Waiting], now: float, policy: Policy, max_seconds: float
) -> list[Waiting]:
    """The oldest requests of a group that fit one pack by memory, time and every deadline.

    The head always fits. The first one that does not fit ends the pack: a shorter one from behind
    it would let it starve.
    """
    pack, nbytes, seconds = [group[0]], group[0].nbytes, group[0].seconds
    finish_by = _finish_by(group[0])
    for w in group[1:]:
        nbytes, seconds = nbytes + w.nbytes, seconds + w.seconds
        finish_by = min(finish_by, _finish_by(w))
        if nbytes > policy.max_pack_bytes or seconds > max_seconds or now + seconds > finish_by:
            break
        pack.append(w)
    return pack


def _finish_by(w: Waiting) -> float:
    return w.start_by + w.seconds


def _latest_start(pack: Sequence[Waiting]) -> float:
    """Latest start of a pack at which every member meets its deadline."""
    return min(map(_finish_by, pack)) - sum(w.seconds for w in pack)
