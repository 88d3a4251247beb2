"""The queue's decision as tables: no clock, no threads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases import CASES
from unmel.service.queue.batching import Policy, Waiting, decide

ONE_LANE = Policy(max_pack_bytes=100, max_pack_seconds=1e6, lanes=1)
TWO_LANES = replace(ONE_LANE, lanes=2)
LINGERING = replace(ONE_LANE, linger=10.0)


def queue(*rows: str) -> list[Waiting]:
    """`"a30"`: key a, 30 bytes, 30 seconds, just come; `"a30!5"`: to be started by 5;
    `"a30@2"`: come at 2.
    """
    made = []
    for ident, row in enumerate(rows):
        rest, _, arrived = row[1:].partition("@")
        size, _, start_by = rest.partition("!")
        made.append(
            Waiting(
                ident, row[0], int(size), float(size), float(arrived or 0), float(start_by or 1e9)
            )
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
        # The seconds that a pack may take bound it likewise.
        (["a30", "a30", "a30"], replace(ONE_LANE, max_pack_seconds=60), [0, 1], [2]),
        (["a90", "a1"], replace(ONE_LANE, max_pack_seconds=60), [0], [1]),
        # A lane takes at most its share of the waiting work.
        (["a10", "a10", "a10", "a10"], TWO_LANES, [0, 1], [2, 3]),
        (["a10", "a10"], TWO_LANES, [0], [1]),
        (["a10"], TWO_LANES, [0], []),
        (["a80", "a10", "a10"], TWO_LANES, [0], [1, 2]),
        (["a10", "a10", "a80"], TWO_LANES, [0, 1], [2]),
        (["a10", "b50", "a10"], TWO_LANES, [0, 2], [1]),
        # A pack stops growing before one of its own would miss its deadline by it: the first
        # must be done by 5 + 10, and two together take 20.
        (["a10!5", "a10"], ONE_LANE, [0], [1]),
        (["a10!10", "a10", "a10"], ONE_LANE, [0, 1], [2]),
        (["a10", "a10!5"], ONE_LANE, [0], [1]),
    ],
)
def test_the_pack_that_a_free_lane_takes(
    rows: list[str], policy: Policy, pack: list[int], rest: list[int]
) -> None:
    decision = decide(queue(*rows), 0.0, policy)
    assert (ids(decision.pack), ids(decision.rest)) == (pack, rest)
    assert decision.next_decision is None


def test_what_can_not_be_started_in_time_leaves_unserved_and_costs_nobody_their_share() -> None:
    decision = decide(queue("a90!4", "a10", "a10!4", "a10!5"), 5.0, TWO_LANES)
    assert ids(decision.expired) == [0, 2]
    assert ids(decision.pack) == [1]
    assert ids(decision.rest) == [3]


@pytest.mark.parametrize(
    ("rows", "now", "pack", "next_decision"),
    [
        # A free lane waits for others to join, until the head has lingered.
        (["a30@5"], 6.0, [], 15.0),
        (["a30@5", "a30@9"], 15.0, [0, 1], None),
        (["b30@3", "a30@5", "b30@6"], 7.0, [], 13.0),
        (["a30@5", "b30@3"], 14.0, [1], None),
        # A full pack waits no longer, nor does one of which somebody is in a hurry.
        (["a60@5", "a60@5"], 6.0, [0], None),
        (["a1@5", "a1!8@6"], 6.5, [], 7.0),
        (["a1@5", "a1!8@6"], 7.0, [0, 1], None),
        # Meanwhile another key's full pack goes first, but not once the older head has lingered.
        (["a30@5", "b60@6", "b60@6"], 7.0, [1], None),
        (["a30@5", "b60@6", "b60@6"], 15.0, [0], None),
    ],
)
def test_lingering(
    rows: list[str], now: float, pack: list[int], next_decision: float | None
) -> None:
    decision = decide(queue(*rows), now, LINGERING)
    assert (ids(decision.pack), decision.next_decision) == (pack, next_decision)


NOW = 5.0
WAITING = st.lists(
    st.builds(
        Waiting,
        id=st.just(0),
        key=st.sampled_from("abc"),
        nbytes=st.integers(1, 120),
        seconds=st.floats(0, 100),
        arrived=st.floats(0, NOW),
        start_by=st.floats(0, 300),
    ),
    max_size=30,
).map(
    lambda rows: [replace(row, id=n) for n, row in enumerate(sorted(rows, key=lambda r: r.arrived))]
)
POLICY = st.builds(
    Policy,
    max_pack_bytes=st.integers(1, 300),
    max_pack_seconds=st.floats(0.1, 300),
    lanes=st.integers(1, 8),
    linger=st.sampled_from([0.0, 1.0, 100.0]),
)


@pytest.mark.slow
@settings(max_examples=500)
@given(waiting=WAITING, policy=POLICY)
def test_every_request_has_one_fate_and_a_pack_keeps_its_bounds(
    waiting: list[Waiting], policy: Policy
) -> None:
    CASES["policy"] += 1
    decision = decide(waiting, NOW, policy)
    everyone = ids(decision.pack) + ids(decision.expired) + ids(decision.rest)
    assert sorted(everyone) == ids(tuple(waiting))
    assert all(w.start_by < NOW for w in decision.expired)
    assert all(w.start_by >= NOW for w in decision.pack + decision.rest)
    for fate in (decision.pack, decision.expired, decision.rest):
        assert ids(fate) == sorted(ids(fate))
    if len(decision.pack) > 1:
        seconds = sum(w.seconds for w in decision.pack)
        assert len({w.key for w in decision.pack}) == 1
        assert sum(w.nbytes for w in decision.pack) <= policy.max_pack_bytes
        assert seconds <= policy.max_pack_seconds
        assert all(NOW + seconds <= w.start_by + w.seconds for w in decision.pack)


@pytest.mark.slow
@settings(max_examples=500)
@given(waiting=WAITING, policy=POLICY)
def test_a_free_lane_idles_only_to_linger_and_knows_for_how_long(
    waiting: list[Waiting], policy: Policy
) -> None:
    CASES["policy"] += 1
    decision = decide(waiting, NOW, policy)
    live = decision.pack + decision.rest
    if policy.linger == 0:
        assert bool(decision.pack) == bool(live)
    if not live:
        assert decision.next_decision is None
    elif decision.pack:
        older = [w for w in decision.rest if w.id < decision.pack[0].id]
        # Nobody is overtaken but by his own key's head, or while others are waited for.
        assert all(w.arrived + policy.linger > NOW for w in older if w.key != decision.pack[0].key)
    else:
        assert decision.next_decision is not None
        assert NOW < decision.next_decision <= min(w.arrived for w in live) + policy.linger


@pytest.mark.slow
@settings(max_examples=500)
@given(waiting=WAITING, policy=POLICY)
def test_deciding_again_and_again_empties_the_queue_oldest_heads_first(
    waiting: list[Waiting], policy: Policy
) -> None:
    CASES["policy"] += 1
    policy = replace(policy, linger=0.0)
    rest, heads = tuple(replace(w, start_by=1e9) for w in waiting), []
    while rest:
        decision = decide(rest, NOW, policy)
        assert decision.pack
        heads.append(decision.pack[0].id)
        assert decision.pack[0].id == rest[0].id
        rest = decision.rest
    assert heads == sorted(heads)
