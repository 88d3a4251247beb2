"""A service on a real port around an engine made for tests, and what its clients see."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np

from tests.service.engines import CONFIG, TestEngine
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.server import Server
from unmel.service.web.components import Components

NPY = "application/x-npy"


def npy(frames: int = 10) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.full((CONFIG.n_mels, frames), -5.0, np.float32))
    return stream.getvalue()


class Live:
    """A running service: its address, its components, its engine, and clients in threads."""

    def __init__(
        self, server: Server, components: Components, engine: TestEngine, url: str
    ) -> None:
        self.server, self.components, self.engine, self.url = server, components, engine, url
        self.lanes = components.lanes
        self.client = httpx.Client(base_url=url, timeout=60)
        self.pool = ThreadPoolExecutor(16)

    def post(self, seed: int, frames: int = 10, **options: Any) -> httpx.Response:
        """A reconstruction; options with a dash are headers."""
        headers = {name: str(v) for name, v in options.items() if "-" in name}
        params = {name: v for name, v in options.items() if "-" not in name}
        return self.client.post(
            "/reconstruct",
            params={"config": "hifigan-22k", "seed": seed, "format": "wav_f32", **params},
            content=npy(frames),
            headers={"Content-Type": NPY, **headers},
        )

    def later(self, *seeds: int, **options: Any) -> list[Future[httpx.Response]]:
        """Reconstructions in flight."""
        return [self.pool.submit(self.post, seed, **options) for seed in seeds]

    def until(self, holds: Callable[[], bool]) -> None:
        """Ask the service for its life until something holds, as it must within a minute."""
        end = time.monotonic() + 60
        while not holds():
            assert self.client.get("/livez").status_code == 200
            assert time.monotonic() < end

    def ready(self) -> bool:
        return self.client.get("/readyz").status_code == 200

    def busy(
        self, *, waiting: tuple[int, ...] = (), **options: Any
    ) -> list[Future[httpx.Response]]:
        """Seed 1 at the closed gate of the only lane, and the others waiting behind it."""
        self.engine.gate.clear()
        futures = self.later(1)
        self.engine.entered.acquire()
        for count, seed in enumerate(waiting, start=1):  # one by one, to come in this order
            futures += self.later(seed, **options)
            self.until(lambda count=count: self.lanes.waiting == count)  # type: ignore[misc]
        return futures

    def raw(self, body: bytes, length: int | None = None, **params: Any) -> socket.socket:
        """A connection on which a request was sent; `length` is what its head claims."""
        address = (self.client.base_url.host, self.client.base_url.port)
        connection = socket.create_connection(address, timeout=60)
        query = urlencode({"config": "hifigan-22k", **params})
        connection.sendall(
            f"POST /reconstruct?{query} HTTP/1.1\r\nHost: test\r\nContent-Type: {NPY}\r\n"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n".encode()
            + body
        )
        return connection

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels, whatever others they have."""
        return sum(
            sample.value
            for family in self.components.metrics.registry.collect()
            for sample in family.samples
            if sample.name == f"unmel_{name}" and labels.items() <= sample.labels.items()
        )

    def assert_in_order(self) -> None:
        """What every fault must leave behind: nothing waits, nothing is held, lanes are ready."""
        self.until(lambda: self.lanes.outstanding == 0 and self.components.budget.held == 0)
        self.until(self.ready)
        count = len(self.lanes._pool.lanes)
        self.until(lambda: self.lanes.states["idle"] == count)
        assert repr(self.lanes) == f"<Lanes {count}/{count} working, 0 waiting, 0 s queued>"
        served = self.post(77)
        assert served.status_code == 200
        assert samples(served)[0] == 77


def samples(answer: httpx.Response) -> np.ndarray:
    """Of an answer in wav_f32: the samples are the end of it."""
    return np.frombuffer(answer.content[-4 * 4 :], "<f4")


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check a refusal's form; the problem itself comes back."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return body


@contextmanager
def live(engine: TestEngine | None = None, **settings: Any) -> Iterator[Live]:
    """A service with one lane on a free port; told to stop at the end, and seen to end."""
    engine = engine or TestEngine()
    engine.gate.set()
    defaults = {"port": 0, "lanes": 1, "warm_presets": (), "drain_seconds": 30}
    made = Settings(**{**defaults, **settings})
    app = create_app(made, engine)
    server, up = ListeningServer(app, made), threading.Event()
    server.up = up
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="service")
    thread.start()
    assert up.wait(30)
    host, port = server.servers[0].sockets[0].getsockname()
    service = Live(server, app.state.components, engine, f"http://{host}:{port}")
    try:
        service.until(service.ready)
        yield service
    finally:
        engine.gate.set()
        server.handle_exit(signal.SIGTERM, None)
        service.pool.shutdown()
        service.client.close()
        thread.join(60)
        assert not thread.is_alive()


class ListeningServer(Server):
    """Says when it listens."""

    up: threading.Event

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()
