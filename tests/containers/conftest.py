"""The image, built once, and containers of it as they are meant to be run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.root import ROOT

IMAGE = "unmel:test"
# From the caller's environment into the build, where they are set.
BUILD_ARGS = ("TORCH_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
# As docker-compose.yml does it.
CAREFUL = (
    *("--read-only", "--tmpfs", "/tmp"),  # noqa: S108 - the container's
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def docker(*arguments: str, timeout: float = 120) -> str:
    """What `docker` prints."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Container:
    """A running container of the image."""

    id: str
    url: str

    def inspect(self, path: str) -> object:
        return json.loads(docker("inspect", "--format", f"{{{{json {path}}}}}", self.id))

    def run(self, *command: str) -> str:
        return docker("exec", self.id, *command)

    def logs(self) -> str:
        done = subprocess.run(
            ["docker", "logs", self.id], capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    def wait_until(self, holds: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.logs()
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def healthy(self) -> bool:
        return self.inspect(".State.Health.Status") == "healthy"


@contextmanager
def container(*options: str, **settings: str) -> Iterator[Container]:
    """A careful container on the host's network, until it is ready."""
    port = free_port()
    settings = {"UNMEL_HOST": "127.0.0.1", "UNMEL_PORT": str(port), **settings}
    variables = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
    ident = docker("run", "-d", "--network", "host", *CAREFUL, *options, *variables, IMAGE)
    made = Container(ident, f"http://127.0.0.1:{port}")
    try:
        made.wait_until(made.ready)
        yield made
    finally:
        docker("rm", "-f", ident)


@pytest.fixture(scope="session", autouse=True)
def image() -> str:
    """Build it; the engine's cache makes the second time short."""
    arguments = [
        part for name in BUILD_ARGS if os.environ.get(name) for part in ("--build-arg", name)
    ]
    docker(
        *("build", "--network", "host", "-f", "docker/Dockerfile", "-t", IMAGE),
        *arguments,
        ".",
        timeout=3000,
    )
    return IMAGE


@pytest.fixture(scope="module")
def service() -> Iterator[Container]:
    with container("--cpus", "1") as made:
        yield made
