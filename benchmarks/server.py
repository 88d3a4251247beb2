"""A service process for benchmarks and tests, on a free port, stopped at the end."""

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
    """The base address of a ready service with `UNMEL_...` settings."""
    with service_process(None, **settings) as (url, _):
        yield url


@contextmanager
def service_process(
    log: list[str] | None = None, module: str = "unmel.service", **settings: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """As `running_service`, with the process; `log` gets its lines."""
    environment = {**os.environ, "UNMEL_PORT": "0", **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", module], env=environment, stderr=subprocess.PIPE, text=True
    )
    reader: threading.Thread | None = None
    try:
        url = _address(process)
        reader = _drain(process, [] if log is None else log)
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=3)) as client:
            while client.get("/readyz").status_code != 200:
                if process.poll() is not None:
                    raise RuntimeError(f"the service ended with {process.returncode}")
        yield url, process
    finally:
        process.terminate()
        process.wait(60)
        if reader is not None:
            reader.join()
        if process.stderr is not None:
            process.stderr.close()


def _address(process: subprocess.Popen[str]) -> str:
    """The address in uvicorn's log."""
    assert process.stderr is not None  # noqa: S101 - piped just above
    seen = []
    for line in process.stderr:
        seen.append(line)
        found = re.search(r"running on (http://\S+)", line)
        if found:
            return found.group(1)
    raise RuntimeError("the service did not start:\n" + "".join(seen))


def _drain(process: subprocess.Popen[str], log: list[str]) -> threading.Thread:
    """Read the log in a thread until the process ends, so that the pipe never fills up."""

    def read() -> None:
        log.extend(process.stderr or ())  # line by line, as they come

    reader = threading.Thread(target=read, daemon=True, name="log")
    reader.start()
    return reader
