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
    frames: int
    cost: float
    deadline: float
    """Time after which it is not worth computing."""


@dataclass(frozen=True)
class Policy:
    """What bounds a pack."""

    max_pack_frames: int
    lanes: int
    """Lanes that share the waiting work; each takes at most its share at once."""


@dataclass(frozen=True)
class Decision:
    """What becomes of every waiting request, in the order in which they came."""

    pack: tuple[Waiting, ...]
    expired: tuple[Waiting, ...]
    rest: tuple[Waiting, ...]


def decide(queue: Sequence[Waiting], now: float, policy: Policy) -> Decision:
    """The pack that a free lane takes now.

    It holds the oldest request and those behind it that share its key, oldest first, while they
    fit into the frame budget and into the lane's share of the waiting cost; the head is always
    taken. Since the head is always the oldest, no key waits for ever behind another. Expired
    requests leave unserved.
    """
    expired = tuple(w for w in queue if w.deadline <= now)
    live = [w for w in queue if w.deadline > now]
    if not live:
        return Decision((), expired, ())
    share = sum(w.cost for w in live) / policy.lanes
    head = live[0]
    pack, frames, cost = [head], head.frames, head.cost
    for w in live[1:]:
        if w.key != head.key:
            continue
        if frames + w.frames > policy.max_pack_frames or cost + w.cost > share:
            break  # skipping a long one for a short one behind it would let it starve
        pack.append(w)
        frames += w.frames
        cost += w.cost
    taken = {w.id for w in pack}
    return Decision(tuple(pack), expired, tuple(w for w in live if w.id not in taken))
