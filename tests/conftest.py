"""Before the first test compiled loops are there; at the end made-up cases are counted.

Between them a service on a real port, for clients that bring their own connections.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import httpx
import pytest

from models.compiled import LOOPS
from models.engine import Engine
from service.app import create_app
from service.settings import Settings
from tests.cases import CASES
from tests.service.live import ListeningServer

# Every run tests the same loops. At import: librosa, which other test modules import, brings numba
# too, and two threads must not be importing it at once.
assert LOOPS.wait() is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CASES:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(CASES.items()))
        terminalreporter.write_line(f"made-up cases: {CASES.total()} ({parts})")


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Address of a service with a real engine."""
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
