"""The queue's decision as tables: no clock, no threads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import Decision, Policy, Waiting, decide

ONE_LANE = Policy(max_pack_frames=100, lanes=1)
TWO_LANES = Policy(max_pack_frames=100, lanes=2)


def queue(*rows: str) -> list[Waiting]:
    """`"a30"`: key a, 30 frames, cost 30; `"a30!5"`: with deadline 5."""
    made = []
    for ident, row in enumerate(rows):
        size, _, deadline = row[1:].partition("!")
        made.append(
            Waiting(ident, row[0], int(size), float(size), float(deadline) if deadline else 1e9)
        )
    return made


def ids(waiting: tuple[Waiting, ...]) -> list[int]:
    return [w.id for w in waiting]


@pytest.mark.parametrize(
    ("rows", "policy", "pack", "rest"),
    [
        ([], ONE_LANE, [], []),
        (["a30"], ONE_LANE, [0], []),
        (["a30", "a30", "a30"], ONE_LANE, [0, 1, 2], []),
        # Only what shares the head's key joins it, in order of arrival.
        (["a30", "b30", "a30"], ONE_LANE, [0, 2], [1]),
        # The frame budget bounds a pack, but never keeps the head out.
        (["a60", "a60"], ONE_LANE, [0], [1]),
        (["a900", "a10"], ONE_LANE, [0], [1]),
        # What does not fit is not overtaken by a shorter one of its own key.
        (["a60", "a60", "a10"], ONE_LANE, [0], [1, 2]),
        # A lane takes at most its share of the waiting cost.
        (["a10", "a10", "a10", "a10"], TWO_LANES, [0, 1], [2, 3]),
        (["a10", "a10"], TWO_LANES, [0], [1]),
        (["a10"], TWO_LANES, [0], []),
        (["a80", "a10", "a10"], TWO_LANES, [0], [1, 2]),
        (["a10", "a10", "a80"], TWO_LANES, [0, 1], [2]),
        (["a10", "b50", "a10"], TWO_LANES, [0, 2], [1]),
    ],
)
def test_the_pack_that_a_free_lane_takes(
    rows: list[str], policy: Policy, pack: list[int], rest: list[int]
) -> None:
    decision = decide(queue(*rows), 0.0, policy)
    assert (ids(decision.pack), ids(decision.rest)) == (pack, rest)


def test_what_is_past_its_deadline_leaves_unserved_and_costs_nobody_their_share() -> None:
    decision = decide(queue("a90!5", "a10", "a10!5", "a10!6"), 5.0, TWO_LANES)
    assert ids(decision.expired) == [0, 2]
    assert ids(decision.pack) == [1]
    assert ids(decision.rest) == [3]


WAITING = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 120), st.integers(0, 10)), max_size=30
)


@given(rows=WAITING, lanes=st.integers(1, 8))
def test_nothing_is_lost_and_the_oldest_is_always_served(
    rows: list[tuple[str, int, int]], lanes: int
) -> None:
    waiting = [
        Waiting(ident, key, frames, float(frames), float(deadline))
        for ident, (key, frames, deadline) in enumerate(rows)
    ]
    decision: Decision = decide(waiting, 5.0, Policy(100, lanes))
    everyone = ids(decision.pack) + ids(decision.expired) + ids(decision.rest)
    assert sorted(everyone) == [w.id for w in waiting]
    live = [w for w in waiting if w.deadline > 5.0]
    assert bool(decision.pack) == bool(live)
    if live:
        assert decision.pack[0] == live[0]
        assert len({w.key for w in decision.pack}) == 1
        assert len(decision.pack) == 1 or sum(w.frames for w in decision.pack) <= 100
        assert ids(decision.pack) == sorted(ids(decision.pack))


@given(rows=WAITING)
def test_deciding_again_and_again_empties_the_queue(rows: list[tuple[str, int, int]]) -> None:
    rest: tuple[Waiting, ...] = tuple(
        Waiting(ident, key, frames, float(frames), 1e9)
        for ident, (key, frames, _) in enumerate(rows)
    )
    for _ in range(len(rows)):
        rest = decide(rest, 0.0, ONE_LANE).rest
    assert rest == ()
