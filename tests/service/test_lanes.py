"""Lanes with an engine made for tests: packs, faults, cancellation, refusal, drain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from models.engine import Item, Result
from models.presets import PRESETS
from models.recipe import resolve
from service.lanes import Lanes, Rates, Served
from service.problems import DeadlineMissed, Overloaded

CONFIG = PRESETS["hifigan-22k"].config


def item(frames: int = 10, seed: int = 0) -> Item:
    return Item(np.zeros((frames, 80), np.float32), CONFIG, resolve(1, n_iter=1), 256, seed)


class FakeEngine:
    """Answers with each item's seed; holds every call until the gate opens."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.bad: set[int] = set()

    def run(self, items: Sequence[Item]) -> list[Result]:
        seeds = [one.seed for one in items]
        self.calls.append(seeds)
        self.entered.release()
        self.gate.wait()
        if self.bad & set(seeds):
            raise ValueError("a bad item")
        return [Result(np.full(1, seed, np.float32)) for seed in seeds]


def run(
    test: Callable[[Lanes, FakeEngine], Awaitable[None]],
    count: int = 1,
    *,
    max_queue_seconds: float = 1e9,
    deadline_seconds: float = 1e9,
) -> None:
    """Run a test's coroutine around lanes that are closed at its end."""
    engine = FakeEngine()

    async def around() -> None:
        lanes = Lanes(
            engine,
            count,
            max_pack_frames=1000,
            max_queue_seconds=max_queue_seconds,
            deadline_seconds=deadline_seconds,
        )
        lanes.start()
        try:
            await asyncio.wait_for(test(lanes, engine), 30)
        finally:
            engine.gate.set()
            await asyncio.to_thread(lanes.close, 30)
            assert repr(lanes) == f"<Lanes 0/{count} alive, 0 waiting, closing>"

    asyncio.run(around())


async def entered(engine: FakeEngine) -> None:
    await asyncio.to_thread(engine.entered.acquire)


async def submitted(lanes: Lanes, *items: Item) -> list[asyncio.Task[Served]]:
    tasks = [asyncio.ensure_future(lanes.submit(one)) for one in items]
    await asyncio.sleep(0)  # let each run up to its wait
    return tasks


def test_requests_that_come_while_a_lane_is_busy_are_packed() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        [first] = await submitted(lanes, item(seed=1))
        await entered(engine)
        rest = await submitted(lanes, item(seed=2), item(seed=3), item(seed=4))
        engine.gate.set()
        served = await asyncio.gather(first, *rest)
        assert engine.calls == [[1], [2, 3, 4]]
        assert [s.pack_items for s in served] == [1, 3, 3, 3]
        assert [float(s.result.values[0]) for s in served] == [1, 2, 3, 4]

    run(test)


def test_an_idle_lane_takes_a_request_at_once() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        tasks = await submitted(lanes, item(seed=1))
        await entered(engine)
        tasks += await submitted(lanes, item(seed=2))
        await entered(engine)
        assert engine.calls == [[1], [2]]
        engine.gate.set()
        await asyncio.gather(*tasks)

    run(test, count=2)


def test_one_bad_item_fails_alone_and_its_neighbours_are_answered() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        engine.bad = {3}
        [first] = await submitted(lanes, item(seed=1))
        await entered(engine)
        rest = await submitted(lanes, item(seed=2), item(seed=3), item(seed=4))
        engine.gate.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert engine.calls == [[1], [2, 3, 4], [2], [3], [4]]
        assert isinstance(outcomes[2], ValueError)
        assert [o.pack_items for o in outcomes if isinstance(o, Served)] == [1, 1, 1]
        assert lanes.ready

    run(test)


def test_a_request_cancelled_in_the_queue_is_never_computed() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        [first] = await submitted(lanes, item(seed=1))
        await entered(engine)
        gone, kept = await submitted(lanes, item(seed=2), item(seed=3))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert "1 waiting" in repr(lanes)
        engine.gate.set()
        await asyncio.gather(first, kept)
        assert engine.calls == [[1], [3]]

    run(test)


def test_a_request_cancelled_while_computed_leaves_its_neighbours_unharmed() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        [first] = await submitted(lanes, item(seed=1))
        await entered(engine)
        gone, kept = await submitted(lanes, item(seed=2), item(seed=3))
        engine.gate.set()
        await entered(engine)
        gone.cancel()
        assert float((await kept).result.values[0]) == 3
        await first

    run(test)


def test_a_full_queue_refuses_with_the_time_to_come_back() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        tasks = await submitted(lanes, item(seed=1))
        await entered(engine)
        tasks += await submitted(lanes, item(frames=50_000, seed=2))
        with pytest.raises(Overloaded) as caught:
            await lanes.submit(item(seed=3))
        assert caught.value.retry_after > 0
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert engine.calls == [[1], [2]]

    run(test, max_queue_seconds=0.5)


def test_what_waited_past_its_deadline_is_answered_and_not_computed() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        [first] = await submitted(lanes, item(seed=1))
        await entered(engine)
        [late] = await submitted(lanes, item(seed=2))
        await asyncio.to_thread(threading.Event().wait, 0.2)  # past the deadline, not for a thing
        engine.gate.set()
        with pytest.raises(DeadlineMissed):
            await late
        await first
        assert engine.calls == [[1]]

    run(test, deadline_seconds=0.1)


def test_a_deadline_is_answered_while_the_lane_is_still_busy() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        [first] = await submitted(lanes, item(seed=1))
        await entered(engine)
        with pytest.raises(DeadlineMissed):
            await lanes.submit(item(seed=2))
        assert not first.done()
        assert "0 waiting" in repr(lanes)
        engine.gate.set()
        await first

    run(test, deadline_seconds=0.1)


def test_a_tiny_request_says_little_about_the_speed_of_long_ones() -> None:
    rates = Rates()
    before = rates.seconds(item(frames=1000))
    rates.observe([item(frames=1)], 0.05)  # mostly overhead
    assert rates.seconds(item(frames=1000)) < 1.5 * before
    for _ in range(50):
        rates.observe([item(frames=1000)], 0.5)
    assert rates.seconds(item(frames=1000)) == pytest.approx(0.5, rel=0.05)


def test_closing_finishes_what_was_accepted_and_refuses_what_comes() -> None:
    async def test(lanes: Lanes, engine: FakeEngine) -> None:
        tasks = await submitted(lanes, item(seed=1), item(seed=2))
        await entered(engine)
        closing = asyncio.ensure_future(asyncio.to_thread(lanes.close, 30))
        while lanes.ready:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="shutting down"):
            await lanes.submit(item(seed=3))
        engine.gate.set()
        assert len(await asyncio.gather(*tasks)) == 2
        await closing

    run(test)
