"""A real process with no compiled loops in its cache, and the next: no request waits for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.server import service_process
from tests.root import ROOT
from tests.service.asking import NPY, npy

pytestmark = [pytest.mark.process, pytest.mark.slow]

BODY = npy(np.full((80, 40), -5.0, np.float32))


def started(cache: Path) -> tuple[list[str], set[str], set[str], bytes]:
    """A process's log; the compiled code that there was when it was ready and after a request; the
    request's answer.
    """
    log: list[str] = []
    with service_process(log, NUMBA_CACHE_DIR=str(cache), UNMEL_WARM_PRESETS="[]") as (url, _):
        ready = compiled(cache)
        answer = httpx.post(
            f"{url}/reconstruct?config=hifigan-22k", content=BODY, headers=NPY, timeout=60
        )
        assert answer.status_code == 200
        after = compiled(cache)
    return [json.loads(line)["message"] for line in log], ready, after, answer.content


def compiled(cache: Path) -> set[str]:
    return {f"{path} {path.stat().st_mtime_ns}" for path in cache.rglob("*.nb[ci]")}


def place(messages: list[str], beginning: str) -> int:
    [found] = [k for k, text in enumerate(messages) if text.startswith(beginning)]
    return found


def test_readiness_waits_for_the_compiler_once_and_no_request_ever_does(tmp_path: Path) -> None:
    said, ready, after, answer = started(tmp_path)
    waiting = [k for k, text in enumerate(said) if text.startswith("waiting for compiled loops")]
    assert all("none are kept in " + str(tmp_path) in said[k] for k in waiting)
    assert waiting[-1] < place(said, "compiled loops ready") < place(said, "ready")
    assert ready
    assert ready == after

    command = [sys.executable, "-m", "unmel.models.backends.cpu.compiled"]
    done = subprocess.run(
        command,
        env={"NUMBA_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("compiled loops: found in ")
    assert str(tmp_path) in done.stdout
    assert done.stdout.count("\n") == 1

    said, found, after, again = started(tmp_path)
    assert not [text for text in said if "none are kept" in text]
    assert found == after == ready
    assert again == answer
