"""A real service process for benchmarks: on a free port, up when it is ready, down at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def running_service(**settings: str) -> Iterator[str]:
    """The base address of a service that was started with `UNMEL_...` settings."""
    environment = {**os.environ, "UNMEL_PORT": "0", **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "service"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        url = _address(process)
        _drain(process)
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=3)) as client:
            while client.get("/readyz").status_code != 200:
                if process.poll() is not None:
                    raise RuntimeError(f"the service ended with {process.returncode}")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen[str]) -> str:
    """Read the log until uvicorn says where it listens."""
    assert process.stderr is not None  # noqa: S101 - piped just above
    seen = []
    for line in process.stderr:
        seen.append(line)
        found = re.search(r"running on (http://\S+)", line)
        if found:
            return found.group(1)
    raise RuntimeError("the service did not start:\n" + "".join(seen))


def _drain(process: subprocess.Popen[str]) -> None:
    """Keep reading the log, so that the pipe never fills up."""
    threading.Thread(
        target=lambda: [None for _ in process.stderr or ()], daemon=True, name="log"
    ).start()
