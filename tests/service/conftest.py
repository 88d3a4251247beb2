"""A service in this process, ready, for the tests of its routes; and one on a real port."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient

from models.engine import Engine
from service.app import create_app
from service.settings import Settings
from tests.service.live import ListeningServer


def wait_until_ready(client: TestClient) -> None:
    """Ask until the warm-up is over; it needs no sleep, each question takes its time."""
    while client.get("/readyz").status_code != 200:
        assert client.get("/livez").status_code == 200


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    settings = Settings(
        lanes=2,
        warm_presets=("hifigan-22k",),
        max_frames=2000,
        max_body_mb=2,
        max_json_mb=1,
        max_iterations=64,
    )
    with TestClient(create_app(settings, Engine())) as made:
        wait_until_ready(made)
        yield made


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Address of a service with a real engine, for clients that bring their own connections."""
    settings = Settings(port=0, lanes=2, warm_presets=("hifigan-22k",))
    app, listening = create_app(settings, Engine()), threading.Event()
    server = ListeningServer(app, settings)
    server.up = listening
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="service")
    thread.start()
    assert listening.wait(30)
    host, port = server.servers[0].sockets[0].getsockname()
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as asking:
        while asking.get("/readyz").status_code != 200:
            assert asking.get("/livez").status_code == 200
    yield f"http://{host}:{port}"
    server.handle_exit(signal.SIGTERM, None)
    thread.join(60)
    assert not thread.is_alive()
