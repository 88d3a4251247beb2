"""Lanes with an engine made for tests: packs, faults, cancellation, refusal, drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.service.engines import TestEngine, item
from unmel.models.engine.items import Item
from unmel.models.errors import NonFiniteOutput, OutOfMemory
from unmel.models.mel import MelConfig
from unmel.service.errors import DeadlineMissed, LaneLost, Overloaded
from unmel.service.queue.batching import Policy
from unmel.service.queue.lane import Lane
from unmel.service.queue.lanes import Lanes, QueueLimits
from unmel.service.queue.tickets import Served

PROBE = 999
"""Seed of the item that lanes are proven with."""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(
    test: Callable[[Lanes, TestEngine], Awaitable[None]],
    count: int = 1,
    *,
    max_wait: float = 1e9,
    deadline: float = 1e9,
    linger: float = 0.0,
    clock: Clock | None = None,
) -> None:
    """Run a test's coroutine around lanes that are closed at its end, and left in order."""
    engine = TestEngine()

    async def around() -> None:
        lanes = Lanes(
            engine,
            Policy(2**40, 1e9, count, linger),
            QueueLimits(max_wait, deadline, hang=60.0),
            probe=item(frames=2, seed=PROBE),
            clock=clock or Clock(),
        )
        lanes.start()
        try:
            await asyncio.wait_for(test(lanes, engine), 30)
            engine.gate.set()
            await settled(lanes)
            assert repr(lanes).startswith(f"<Lanes {count}/{count} working, 0 waiting, 0 s queued")
        finally:
            engine.gate.set()
            await asyncio.to_thread(lanes.close, 30)
        assert repr(lanes) == f"<Lanes 0/{count} working, 0 waiting, 0 s queued, closing>"
        assert lanes.outstanding == 0

    asyncio.run(around())


async def settled(lanes: Lanes) -> None:
    """Wait until nothing runs, and every lane is back unless they close."""
    while lanes.outstanding or not (lanes.ready or lanes.closing):
        await asyncio.sleep(0)


async def entered(engine: TestEngine) -> None:
    await asyncio.to_thread(engine.entered.acquire)


async def submitted(lanes: Lanes, *items: Item) -> list[asyncio.Task[Served]]:
    tasks = [asyncio.ensure_future(lanes.submit(one)) for one in items]
    await asyncio.sleep(0)  # let each run up to its wait
    return tasks


async def behind_a_busy_lane(
    lanes: Lanes, engine: TestEngine, *seeds: int
) -> tuple[asyncio.Task[Served], list[asyncio.Task[Served]]]:
    """A request that is being computed, and others that wait to be one pack."""
    [first] = await submitted(lanes, item(seed=1))
    await entered(engine)
    return first, await submitted(lanes, *(item(seed=seed) for seed in seeds))


def value(served: Served) -> float:
    return float(served.result.values[0])


# --- packs --------------------------------------------------------------------------------------


def test_requests_that_come_while_a_lane_is_busy_are_packed() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3, 4)
        engine.gate.set()
        served = await asyncio.gather(first, *rest)
        assert engine.calls == [[1], [2, 3, 4]]
        assert [s.pack_items for s in served] == [1, 3, 3, 3]
        assert [value(s) for s in served] == [1, 2, 3, 4]

    run(test)


def test_an_idle_lane_takes_a_request_at_once() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        tasks = await submitted(lanes, item(seed=1))
        await entered(engine)
        tasks += await submitted(lanes, item(seed=2))
        await entered(engine)
        assert engine.calls == [[1], [2]]
        engine.gate.set()
        await asyncio.gather(*tasks)

    run(test, count=2)


def test_a_lane_that_lingers_packs_what_comes_meanwhile() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.gate.set()
        tasks = await submitted(lanes, item(seed=1))
        tasks += await submitted(lanes, item(seed=2), item(seed=3))
        assert lanes.waiting == 3
        clock.now += 1.0
        await asyncio.gather(*tasks)
        assert engine.calls == [[1, 2, 3]]

    run(test, linger=0.05, clock=clock)  # by the made-up clock; a lane looks again by the real one


# --- faults -------------------------------------------------------------------------------------


def test_one_bad_item_fails_alone_and_its_neighbours_are_answered() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[3] = ValueError("a bad item")
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3, 4)
        engine.gate.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert engine.calls[:5] == [[1], [2, 3, 4], [2], [3], [4]]
        assert isinstance(outcomes[2], ValueError)
        assert [o.pack_items for o in outcomes if isinstance(o, Served)] == [1, 1, 1]
        await settled(lanes)

    run(test)


def test_a_pack_without_memory_is_halved_down_to_what_fits() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.room = 2
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3, 4, 5, 6)
        engine.gate.set()
        served = await asyncio.gather(first, *rest)
        assert engine.calls == [[1], [2, 3, 4, 5, 6], [2, 3, 4], [2, 3], [4], [5, 6]]
        assert [value(s) for s in served] == [1, 2, 3, 4, 5, 6]
        assert engine.freed == 2

    run(test)


def test_one_item_without_memory_is_the_only_one_that_fails() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[3] = OutOfMemory("no room")
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3)
        engine.gate.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert engine.calls == [[1], [2, 3], [2], [3]]
        assert isinstance(outcomes[2], OutOfMemory)
        assert engine.freed == 2

    run(test)


@pytest.mark.parametrize("sample", [float("nan"), float("inf")])
def test_a_result_that_is_not_finite_fails_its_own_item(sample: float) -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[3] = sample
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3, 4)
        engine.gate.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert isinstance(outcomes[2], NonFiniteOutput)
        assert [value(o) for o in outcomes if isinstance(o, Served)] == [1, 2, 4]
        assert engine.calls == [[1], [2, 3, 4]]

    run(test)


@pytest.mark.parametrize("death", [SystemExit(3), KeyboardInterrupt()])
def test_a_lane_that_dies_is_replaced_and_proves_itself_before_it_is_ready(
    death: BaseException,
) -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[2] = death
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3)
        engine.gate.set()
        outcomes = await asyncio.gather(*rest, return_exceptions=True)
        assert [type(o) for o in outcomes] == [LaneLost, LaneLost]
        await first
        await settled(lanes)
        assert engine.calls == [[1], [2, 3], [PROBE]]
        assert value(await lanes.submit(item(seed=5))) == 5

    run(test)


def test_readiness_is_lost_until_the_new_lane_has_proven_itself() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[PROBE] = RuntimeError("the device is gone")
        engine.faults[1] = SystemExit(3)
        engine.gate.set()
        with pytest.raises(LaneLost):
            await lanes.submit(item(seed=1))
        while lanes._pool.lanes[0].failed_probes < 2:
            assert not lanes.ready
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="No lane works"):
            await lanes.submit(item(seed=2))
        assert lanes.states == {"starting": 1, "idle": 0, "busy": 0, "hung": 0}
        del engine.faults[PROBE]
        await settled(lanes)
        assert value(await lanes.submit(item(seed=3))) == 3

    run(test)


def test_a_device_that_fails_whatever_it_is_given_is_found_out_by_the_probe() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.gate.set()
        engine.faults |= {seed: RuntimeError("sticky") for seed in (1, PROBE)}
        with pytest.raises(RuntimeError, match="sticky"):
            await lanes.submit(item(seed=1))
        while lanes.ready:
            await asyncio.sleep(0)
        del engine.faults[PROBE]
        await settled(lanes)

    run(test)


def test_a_lane_still_takes_requests_while_it_computes_a_first_probe() -> None:
    """One bad item is no reason to refuse the next request: that is, until a probe has failed."""

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[1] = RuntimeError("a bad item")
        [bad] = await submitted(lanes, item(seed=1))
        await entered(engine)
        engine.gate.set()
        engine.gate.clear()
        with pytest.raises(RuntimeError, match="a bad item"):
            await bad
        await entered(engine)  # the probe is at the gate
        assert engine.calls == [[1], [PROBE]]
        assert lanes.ready
        engine.gate.set()
        await settled(lanes)

    run(test)


def test_a_call_that_fails_before_it_begins_does_not_count_as_hung() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, [bad] = await behind_a_busy_lane(lanes, engine, 2)

        def fail(_: MelConfig) -> float:
            del engine.preparation  # type: ignore[method-assign] # once
            raise OutOfMemory("no room for the plan")

        engine.preparation = fail  # type: ignore[method-assign]
        engine.gate.set()
        await first
        with pytest.raises(OutOfMemory):
            await bad
        while lanes.states["busy"]:
            await asyncio.sleep(0)
        clock.now += 100_000
        lanes.watch()
        assert lanes.states == {"starting": 0, "idle": 1, "busy": 0, "hung": 0}

    run(test, clock=clock)


def test_the_pauses_between_failed_probes_double_up_to_the_longest() -> None:
    """For any number of probes: a device may be gone for days."""
    pauses: list[float] = []

    class Pausing:
        """A dispatcher that has no packs."""

        def pause(self, _: Lane, seconds: float) -> bool:
            pauses.append(seconds)
            return len(pauses) < 20

        def time_limits(self, _: object) -> tuple[float, float]:
            return 0.0, 60.0

        def lost(self, _: Lane, error: BaseException) -> None:
            raise AssertionError from error

    engine = TestEngine()
    engine.gate.set()
    engine.faults[PROBE] = RuntimeError("gone")
    probe = item(frames=2, seed=PROBE)
    lane = Lane("0", engine, Pausing(), Clock(), probe, proven=False)  # type: ignore[arg-type]
    lane.failed_probes = 1020  # 2.0**1024 is too large for a float
    lane.start()
    lane.join(60)
    assert not lane.alive
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[8:] == [25.6, *[30.0] * 11]


def test_a_lane_that_hangs_is_given_up_and_what_it_still_says_is_ignored() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, rest = await behind_a_busy_lane(lanes, engine, 2)
        lanes.watch()
        assert lanes.states["busy"] == 1
        clock.now += 100_000
        lanes.watch()
        with pytest.raises(LaneLost, match="hung"):
            await first
        assert not lanes.ready  # the new lane's probe is at the gate, as the old one's pack is
        assert lanes.states == {"starting": 1, "idle": 0, "busy": 0, "hung": 1}
        engine.gate.set()
        assert value(await rest[0]) == 2
        await settled(lanes)
        while lanes.states["hung"]:
            await asyncio.sleep(0)
        await lanes.submit(item(seed=3), clock.now + 1.0)  # it has not taught the rates either
        assert engine.calls == [[1], [PROBE], [2], [3]]

    run(test, clock=clock)


def test_a_lane_that_was_given_up_does_not_go_on_when_its_call_comes_back() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[2] = ValueError("a bad item")
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3)
        engine.gate.set()
        engine.gate.clear()
        await first
        await entered(engine)  # the two are at the gate
        clock.now += 100_000
        lanes.watch()
        for task in rest:
            with pytest.raises(LaneLost):
                await task
        engine.gate.set()
        while lanes.states["hung"]:
            await asyncio.sleep(0)
        assert engine.calls == [[1], [2, 3], [PROBE]]  # and not its items one by one

    run(test, clock=clock)


def test_more_hung_threads_than_lanes_are_beyond_hope() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        [first] = await submitted(lanes, item(seed=1))
        for hung in (1, 2):
            await entered(engine)
            assert not lanes.needs_restart
            clock.now += 100_000
            lanes.watch()
            assert lanes.states["hung"] == hung
        assert lanes.needs_restart
        with pytest.raises(LaneLost):
            await first
        engine.gate.set()
        while lanes.needs_restart:
            await asyncio.sleep(0)

    run(test, clock=clock)


def test_a_device_that_fails_one_probe_after_another_is_beyond_hope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unmel.service.queue.lane._FIRST_PAUSE", 0.0)

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.gate.set()
        engine.faults |= {1: SystemExit(1), PROBE: RuntimeError("gone")}
        with pytest.raises(LaneLost):
            await lanes.submit(item(seed=1))
        while not lanes.needs_restart:
            assert not lanes.ready
            await asyncio.sleep(0)
        engine.faults.clear()
        await settled(lanes)
        assert not lanes.needs_restart

    run(test)


# --- cancellation -------------------------------------------------------------------------------


def test_a_request_cancelled_in_the_queue_is_never_computed() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, (gone, kept) = await behind_a_busy_lane(lanes, engine, 2, 3)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert lanes.waiting == 1
        engine.gate.set()
        await asyncio.gather(first, kept)
        assert engine.calls == [[1], [3]]

    run(test)


def test_a_request_cancelled_while_computed_leaves_its_neighbours_unharmed() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, (gone, kept) = await behind_a_busy_lane(lanes, engine, 2, 3)
        engine.gate.set()
        await entered(engine)
        gone.cancel()
        assert value(await kept) == 3
        await first

    run(test)


def test_what_nobody_waits_for_any_more_is_not_run_again_when_its_pack_failed() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, (gone, bad, kept) = await behind_a_busy_lane(lanes, engine, 2, 3, 4)
        reached, go = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def fail() -> None:
            loop.call_soon_threadsafe(reached.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
            raise ValueError("a bad item")

        engine.faults[3] = fail
        engine.gate.set()
        await reached.wait()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        go.set()
        assert value(await kept) == 4
        await asyncio.gather(first, bad, return_exceptions=True)
        assert engine.calls[:4] == [[1], [2, 3, 4], [3], [4]]

    run(test)


# --- admission and deadlines ----------------------------------------------------------------------


def test_a_full_queue_refuses_with_the_time_to_come_back() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        tasks = await submitted(lanes, item(seed=1))
        await entered(engine)
        tasks += await submitted(lanes, item(frames=50_000, seed=2))
        for ask in (lanes.submit(item(seed=3)), asyncio.to_thread(lanes.check_admission)):
            with pytest.raises(Overloaded) as caught:
                await ask
            assert caught.value.reason == "queue"
            assert caught.value.retry_after > 0
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert engine.calls == [[1], [2]]

    run(test, max_wait=0.5)


def test_a_request_that_cannot_be_answered_in_time_is_refused_at_once() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[1] = lambda: setattr(clock, "now", clock.now + 8.0)
        engine.gate.set()
        long = 20_000
        await lanes.submit(item(long, seed=1))  # such an item is found to take eight seconds
        with pytest.raises(Overloaded) as caught:
            await lanes.submit(item(long, seed=2), clock.now + 5.0)
        assert caught.value.reason == "deadline"
        assert caught.value.estimate == pytest.approx(8.0, rel=0.5)
        assert engine.calls == [[1]]
        await lanes.submit(item(seed=3), clock.now + 20.0)

    run(test, clock=clock)


def test_a_pack_whose_plan_had_to_be_made_says_nothing_about_the_speed_of_others() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[1] = lambda: setattr(clock, "now", clock.now + 500.0)
        engine.gate.set()
        engine.cold = 3.0
        await lanes.submit(item(seed=1))
        engine.cold = 0.0
        await lanes.submit(item(seed=2), clock.now + 1.0)

    run(test, clock=clock)


def test_a_plan_that_has_to_be_made_counts_as_waiting_work() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.cold = 3.0
        first, rest = await behind_a_busy_lane(lanes, engine, 2)
        assert lanes.queued_seconds == pytest.approx(3.0, abs=0.1)
        engine.gate.set()
        await asyncio.gather(first, *rest)

    run(test)


def test_what_waited_past_its_deadline_is_answered_and_not_computed() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, _ = await behind_a_busy_lane(lanes, engine)
        late = asyncio.ensure_future(lanes.submit(item(seed=2), clock.now + 50.0))
        await asyncio.sleep(0)
        clock.now += 60
        engine.gate.set()
        with pytest.raises(DeadlineMissed):
            await late
        await first
        assert engine.calls == [[1]]

    run(test, clock=clock)


def test_a_missed_deadline_is_answered_while_the_lane_is_still_busy() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, _ = await behind_a_busy_lane(lanes, engine)
        with pytest.raises(DeadlineMissed):
            await lanes.submit(item(seed=2))
        assert not first.done()
        assert lanes.waiting == 0
        engine.gate.set()
        await first

    run(test, deadline=0.1)


def test_a_body_that_took_until_the_deadline_is_not_queued() -> None:
    clock = Clock()

    async def test(lanes: Lanes, engine: TestEngine) -> None:
        with pytest.raises(DeadlineMissed):
            await lanes.submit(item(), clock.now - 1.0)
        assert engine.calls == []

    run(test, clock=clock)


# --- the end --------------------------------------------------------------------------------------


def test_closing_finishes_what_was_accepted_and_refuses_what_comes() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        first, rest = await behind_a_busy_lane(lanes, engine, 2, 3)
        lanes.drain()
        assert not lanes.ready
        assert lanes.outstanding == 3
        with pytest.raises(Overloaded, match="shutting down"):
            await lanes.submit(item(seed=4))
        engine.gate.set()
        assert [value(s) for s in await asyncio.gather(first, *rest)] == [1, 2, 3]

    closing(test)


def test_a_lane_that_dies_while_draining_is_replaced_for_what_still_waits() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.faults[1] = SystemExit(1)
        first, rest = await behind_a_busy_lane(lanes, engine, 2)
        lanes.drain()
        engine.gate.set()
        with pytest.raises(LaneLost):
            await first
        assert value(await rest[0]) == 2

    closing(test)


def test_nobody_is_lingered_for_at_the_end() -> None:
    async def test(lanes: Lanes, engine: TestEngine) -> None:
        engine.gate.set()
        [one] = await submitted(lanes, item(seed=1))
        assert lanes.waiting == 1
        lanes.drain()
        assert value(await one) == 1

    closing(test, linger=1e6)


def closing(test: Callable[[Lanes, TestEngine], Awaitable[None]], *, linger: float = 0.0) -> None:
    """As `run`, for a test that leaves the lanes closing."""
    engine = TestEngine()

    async def around() -> None:
        lanes = Lanes(
            engine,
            Policy(2**40, 1e9, 1, linger),
            QueueLimits(1e9, 1e9, 60.0),
            probe=item(seed=PROBE),
        )
        lanes.start()
        try:
            await asyncio.wait_for(test(lanes, engine), 30)
        finally:
            engine.gate.set()
            await asyncio.to_thread(lanes.close, 30)
        assert repr(lanes) == "<Lanes 0/1 working, 0 waiting, 0 s queued, closing>"

    asyncio.run(around())
