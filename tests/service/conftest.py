"""A service in this process, ready, for the tests of its routes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient


def wait_until_ready(client: TestClient) -> None:
    """Ask until the warm-up is over; it needs no sleep, each question takes its time."""
    while client.get("/readyz").status_code != 200:
        assert client.get("/livez").status_code == 200


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    from unmel.models.engine import Engine  # noqa: PLC0415
    from unmel.service.app import create_app  # noqa: PLC0415
    from unmel.service.ops.settings import Settings  # noqa: PLC0415

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
