"""What runs next: a pure function of the queue, the time and the policy. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A request in the queue, as the decision sees it."""

    id: int
    key: Hashable
    """Requests of one key may share a pack."""
    nbytes: int
    """Of a pack's memory."""
    seconds: float
    """What a lane is expected to take for it."""
    arrived: float
    start_by: float
    """Time after which it is not worth starting: it would miss its deadline."""


@dataclass(frozen=True)
class Policy:
    """What bounds a pack, and how long one may be waited for."""

    max_pack_bytes: int
    max_pack_seconds: float
    lanes: int
    """Lanes that share the waiting work; each takes at most its share at once."""
    linger: float = 0.0
    """Seconds that a free lane waits for others to join a request."""


@dataclass(frozen=True)
class Decision:
    """What becomes of every waiting request, in the order in which they came."""

    pack: tuple[Waiting, ...]
    expired: tuple[Waiting, ...]
    rest: tuple[Waiting, ...]
    look_again: float | None = None
    """Time to decide again if nothing new comes; set where requests are lingered for."""


def decide(queue: Sequence[Waiting], now: float, policy: Policy) -> Decision:
    """The pack that a free lane takes now.

    Requests of one key are a group, and groups are looked at in the order of their oldest
    request, the head. A group is ripe when its head has lingered, when one of it must start
    now to meet its deadline, or when it fills a pack. The first ripe group gives the pack, so
    that none waits for ever behind another. Without lingering every group is ripe and the
    pack is the oldest request's. What can no longer meet its deadline leaves unserved.
    """
    expired = tuple(w for w in queue if w.start_by < now)
    live = [w for w in queue if w.start_by >= now]
    groups: dict[Hashable, list[Waiting]] = {}
    for w in live:
        groups.setdefault(w.key, []).append(w)
    share = sum(w.seconds for w in live) / policy.lanes
    ripe_at = []
    for group in groups.values():
        most = _fill(group, now, policy, policy.max_pack_seconds)
        ripe = min(group[0].arrived + policy.linger, _latest_start(most))
        if ripe <= now or len(most) < len(group):
            pack = _fill(most, now, policy, min(share, policy.max_pack_seconds))
            taken = {w.id for w in pack}
            return Decision(tuple(pack), expired, tuple(w for w in live if w.id not in taken))
        ripe_at.append(ripe)
    return Decision((), expired, tuple(live), min(ripe_at, default=None))


def _fill(
    group: Sequence[Waiting], now: float, policy: Policy, max_seconds: float
) -> list[Waiting]:
    """The group's oldest that fit one pack: by memory, by seconds, and by the deadline of each.

    The head always fits. What does not fit ends the pack: to take a shorter one from behind it
    would let it starve.
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
    """When a pack must start for each of its own to meet its deadline."""
    return min(map(_finish_by, pack)) - sum(w.seconds for w in pack)
