"""The waiting queue: which lanes a new ticket wakes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
