"""A node that is killed loses nothing, and what is too much is refused in the service's words."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from threading import Event, Lock

import httpx

from benchmarks.ray_server import ray_service
from tests.cluster.jobs import Job


def test_more_than_the_replicas_and_the_proxy_take_is_refused_in_the_services_words(
    jobs: list[Job],
) -> None:
    """The bounds of `docker/serve.yaml` made small: two at a replica, one in the proxy."""
    with (
        ray_service((1,), replicas=1, max_ongoing_requests=2, max_queued_requests=1) as small,
        httpx.Client(base_url=small.url, timeout=120) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        answers = list(pool.map(lambda _: jobs[2].post(client), range(12)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "5"


@dataclass(frozen=True)
class Outcome:
    """What became of a request, and when."""

    began: float
    ended: float
    answer: httpx.Response
    as_expected: bool


def test_a_killed_node_loses_nothing_and_a_new_one_is_put_to_work(jobs: list[Job]) -> None:
    outcomes: list[Outcome] = []
    lock, stop = Lock(), Event()
    sequence = cycle(jobs)

    def drive(url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not stop.is_set():
                with lock:
                    job = next(sequence)
                began = time.monotonic()
                answer = job.post(client)
                ended = time.monotonic()
                with lock:
                    outcomes.append(Outcome(began, ended, answer, answer.content == job.expected))

    def wait_for(count: int) -> None:
        end = time.monotonic() + 120
        while len(outcomes) < count:
            assert time.monotonic() < end, "the load has stopped"
            time.sleep(0.05)

    with ray_service((1,), replicas=1) as service, ThreadPoolExecutor(4) as pool:
        node = service.add_node(1)
        service.scale(2)
        drivers = [pool.submit(drive, service.url) for _ in range(4)]
        try:
            wait_for(30)
            service.kill(node)
            killed = time.monotonic()
            wait_for(len(outcomes) + 30)
            service.add_node(1)
            service.wait_for_replicas(2)
            wait_for(len(outcomes) + 30)
        finally:
            stop.set()
        for driver in drivers:
            driver.result()

    struck = [o for o in outcomes if o.began < killed < o.ended]
    assert struck
    for outcome in outcomes:
        if outcome.as_expected:
            assert outcome.answer.status_code == 200
            continue
        assert outcome in struck, outcome.answer.text
        assert outcome.answer.status_code == 503
        assert outcome.answer.headers["content-type"] == "application/problem+json"
    slowest = max(outcome.ended - killed for outcome in struck)
    failed = sum(not outcome.as_expected for outcome in outcomes)
    print(  # noqa: T201 - the figures that the documents state
        f"\n{len(outcomes)} requests, {len(struck)} in flight when the node was killed, "
        f"{failed} refused, the last answered after {slowest:.1f} s"
    )
    assert slowest < 5.0
