"""A real process told to stop in the midst of its work: whoever was let in is answered."""

from __future__ import annotations

import io
import itertools
import json
import signal
import threading

import httpx
import numpy as np
import pytest

from benchmarks.server import service_process

pytestmark = [pytest.mark.process, pytest.mark.loops]

CLIENTS = 12
BEFORE = 30
"""Answers that were given when the signal comes."""


def npy(frames: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.full((80, frames), -5.0, np.float32))
    return stream.getvalue()


class Load:
    """Clients that ask again and again, until nobody listens any more."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, httpx.Response] = {}
        self.broken: set[str] = set()
        self.enough = threading.Event()
        self._ids = itertools.count()
        self._bodies = [npy(frames) for frames in (20, 60, 120)]
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        for number in self._ids:
            ident = f"request-{number}"
            try:
                self.answers[ident] = httpx.post(
                    f"{self.url}/reconstruct",
                    params={"config": "hifigan-22k", "n_iter": 40},
                    content=self._bodies[number % len(self._bodies)],
                    headers={"Content-Type": "application/x-npy", "X-Request-ID": ident},
                    timeout=60,
                )
            except httpx.ConnectError:
                return
            except httpx.TransportError:
                self.broken.add(ident)
            if len(self.answers) >= BEFORE:
                self.enough.set()


def test_every_request_that_was_accepted_is_answered_when_the_process_is_told_to_stop() -> None:
    log: list[str] = []
    with service_process(log, UNMEL_LANES="2", UNMEL_WARM_PRESETS='["hifigan-22k"]') as (
        url,
        process,
    ):
        load = Load(url)
        assert load.enough.wait(60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        load.join()
    lines = [json.loads(line) for line in log]
    [draining] = [line for line in lines if line["message"] == "draining"]
    served = {
        line["request_id"]: line["status"] for line in lines if line.get("route") == "/reconstruct"
    }
    assert {ident: answer.status_code for ident, answer in load.answers.items()} == served
    assert not load.broken & set(served)
    assert draining["outstanding"] > 0
    assert len(served) >= BEFORE + draining["outstanding"]
    assert set(served.values()) <= {200, 503}
    for answer in load.answers.values():
        assert len(answer.content) == int(answer.headers["content-length"])
        if answer.status_code == 503:
            assert "shutting down" in answer.json()["detail"]


def test_a_second_signal_ends_the_process_at_once_and_even_then_with_an_answer() -> None:
    with service_process(UNMEL_LANES="1", UNMEL_WARM_PRESETS='["hifigan-22k"]') as (url, process):
        answers: list[int] = []

        def ask() -> None:
            answer = httpx.post(
                f"{url}/reconstruct?config=hifigan-22k&n_iter=2000",
                content=npy(20_000),
                headers={"Content-Type": "application/x-npy"},
                timeout=60,
            )
            answers.append(answer.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        while 'unmel_lanes{state="busy"} 1.0' not in httpx.get(f"{url}/metrics").text:
            pass
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/readyz").status_code == 200:
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        asking.join(30)
        assert answers == [503]
