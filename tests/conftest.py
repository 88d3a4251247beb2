"""Compiled loops for tests that are marked so, a service on a real port, made-up cases counted.

Nothing here loads torch before a test needs it: tests of pure policy start in a tenth of the time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.browser import BROWSER
from tests.cases import CASES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# As an engine does: torch's own threads spin, and starve those of the other test process. Torch
# reads it when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks a real service takes compiled loops."""
    for item in items:
        if {"url", "client"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("loops")


@pytest.fixture(autouse=True)
def _compiled_loops(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """There for a test marked `loops`; any other goes without, and fails if it asked for them."""
    from unmel.models.backends.cpu.compiled import LOOPS  # noqa: PLC0415

    asked: list[str] = []
    if request.node.get_closest_marker("loops"):
        assert LOOPS.wait() is not None
    else:  # it may ask in a thread of its own, where an exception would be nobody's
        monkeypatch.setattr(LOOPS, "wait", lambda: asked.append("compiled loops"))
    yield
    assert not asked, "this test takes compiled loops: mark it `loops`"


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes
        session.config.workeroutput["cases"] = dict(CASES)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist has ended."""
    CASES.update(getattr(node, "workeroutput", {}).get("cases", {}))  # none if it crashed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CASES:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(CASES.items()))
        terminalreporter.write_line(f"made-up cases: {CASES.total()} ({parts})")


# For a module: while it is open, its thread has a running event loop, which other tests start.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which plays without being asked and is not heard."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield made
        made.close()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Address of a service with a real engine."""
    from tests.service.live import ListeningServer  # noqa: PLC0415
    from unmel.models.engine import Engine  # noqa: PLC0415
    from unmel.service.app import create_app  # noqa: PLC0415
    from unmel.service.ops.settings import Settings  # noqa: PLC0415

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
