"""How far a request has come: by its id, from before its queue to after its answer."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.engines import TestEngine, item
from tests.service.live import Live, live
from tests.service.queue.test_lanes import Clock, entered, run
from unmel.models.engine.items import Item
from unmel.service.queue.lanes import Lanes
from unmel.service.queue.progress import Position, ProgressTracker
from unmel.service.queue.tickets import Served, Ticket


async def submit(lanes: Lanes, *items: Item) -> tuple[list[Ticket], list[asyncio.Task[Served]]]:
    """Submitted items' tickets, and what comes of them."""
    tickets: list[Ticket] = []
    tasks = [asyncio.ensure_future(lanes.submit(one, None, tickets.append)) for one in items]
    await asyncio.sleep(0)  # let each run up to its wait
    return tickets, tasks


def test_a_ticket_is_located_in_the_queue_in_a_lane_and_after_it() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        [first], tasks = await submit(lanes, item(seed=1))
        await entered(engine)
        alone = first.waiting.seconds
        begun = lanes.locate(first)
        assert (begun.stage, begun.ahead, begun.elapsed) == ("compute", 0, 0.0)
        assert begun.remaining == pytest.approx(alone)
        [second, third], more = await submit(lanes, item(seed=2), item(seed=3))
        clock.now += alone / 2
        here = lanes.locate(first)
        assert here.elapsed == pytest.approx(alone / 2)
        assert here.remaining == pytest.approx(alone / 2)
        assert [lanes.locate(t).stage for t in (second, third)] == ["queue", "queue"]
        assert [lanes.locate(t).ahead for t in (second, third)] == [0, 1]
        # What the lane is at, what comes before, and itself.
        assert lanes.locate(second).remaining == pytest.approx(1.5 * alone)
        assert lanes.locate(third).remaining == pytest.approx(2.5 * alone)
        clock.now += 10 * alone
        assert lanes.locate(first).remaining == 0.0, "it takes longer than was expected"
        engine.gate.set()
        await asyncio.gather(*tasks, *more)
        assert lanes.locate(first).stage == "encode"

    run(test, clock=clock)


def test_an_estimate_is_a_guess_until_a_request_of_its_kind_was_timed() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        [first], tasks = await submit(lanes, item(seed=1))
        await entered(engine)
        assert not lanes.locate(first).measured
        clock.now += 1.0
        engine.gate.set()
        await asyncio.gather(*tasks)
        [second], tasks = await submit(lanes, item(seed=2))
        assert lanes.locate(second).measured
        await asyncio.gather(*tasks)

    run(test, clock=clock)


def test_a_request_is_known_while_it_is_served_and_the_later_of_two_with_one_id() -> None:
    tracker = ProgressTracker(lambda _: Position("queue", 3))
    ticket = object()
    with tracker.track("a"):
        assert tracker.position("a") == Position("decode")
        with tracker.track("a") as later:
            later.queued(ticket)  # type: ignore[arg-type] # it is only handed on
            assert tracker.position("a") == Position("queue", 3)
        assert tracker.position("a") == Position("unknown")
    assert tracker.position("a") == Position("unknown")
    assert len(tracker) == 0


def test_the_service_says_where_a_request_is_and_forgets_it_with_its_answer() -> None:
    def stage(service: Live, ident: str) -> str:
        found: str = service.client.get(f"/progress/{ident}").json()["stage"]
        return found

    with live(TestEngine()) as service:
        assert service.client.get("/progress/nobody").json() == {
            "stage": "unknown",
            "ahead": 0,
            "elapsed": None,
            "remaining": None,
            "measured": False,
        }
        futures = service.busy(waiting=(2,), **{"X-Request-ID": "mine"})
        assert stage(service, "mine") == "queue"
        service.engine.gate.set()
        assert [future.result().status_code for future in futures] == [200, 200]
        service.until(lambda: stage(service, "mine") == "unknown")
        assert len(service.components.progress) == 0
        service.assert_in_order()
