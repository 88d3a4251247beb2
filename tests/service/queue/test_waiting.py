"""The waiting queue: which lanes a new ticket wakes, and the seconds of work in it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.engines import item
from unmel.service.queue.batching import Policy, Waiting
from unmel.service.queue.estimates import EstimateMargin
from unmel.service.queue.tickets import Ticket
from unmel.service.queue.waiting import WaitingQueue


class CountedCondition(threading.Condition):
    """Releases a semaphore when a thread is about to wait, still holding the lock."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.release()
        return super().wait(timeout)


def make_queue() -> tuple[WaitingQueue, CountedCondition]:
    queue = WaitingQueue(Policy(2**40, 1e9, 2), time.monotonic, EstimateMargin())
    queue.condition = condition = CountedCondition()
    return queue, condition


def make_ticket(loop: asyncio.AbstractEventLoop, ident: int = 1, seconds: float = 1.0) -> Ticket:
    work = item()
    waiting = Waiting(ident, work.key, work.nbytes, seconds, 0.0, float("inf"))
    return Ticket(waiting, work, loop, loop.create_future())


def with_loop(test: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    loop = asyncio.new_event_loop()
    try:
        test(loop)
    finally:
        loop.close()


def test_a_ticket_wakes_the_idle_lane_behind_one_that_pauses() -> None:
    def test(loop: asyncio.AbstractEventLoop) -> None:
        queue, condition = make_queue()
        ticket = make_ticket(loop)
        with ThreadPoolExecutor(2) as lanes:
            paused = lanes.submit(queue.pause, 60.0)
            assert condition.waits.acquire(timeout=30)
            taken = lanes.submit(queue.take, lambda: True, lambda _: None)
            assert condition.waits.acquire(timeout=30)
            queue.put(ticket)
            try:
                assert taken.result(5) == [ticket]
            finally:
                queue.close()
        assert paused.result(5) is False

    with_loop(test)


def test_the_seconds_are_those_of_the_tickets_in_the_queue() -> None:
    def test(loop: asyncio.AbstractEventLoop) -> None:
        queue, _ = make_queue()
        tickets = [make_ticket(loop, ident, 0.1 * ident) for ident in range(1, 6)]
        for ticket in tickets:
            queue.put(ticket)
        assert queue.seconds == pytest.approx(1.5)
        assert queue.withdraw(tickets[1])
        assert not queue.withdraw(tickets[1])
        assert queue.seconds == pytest.approx(1.3)
        while queue.seconds:
            left = queue.seconds
            pack = queue.take(lambda: True, lambda _: None) or ()
            assert queue.seconds == pytest.approx(left - sum(t.waiting.seconds for t in pack))
        assert len(queue) == 0

    with_loop(test)
