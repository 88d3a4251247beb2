"""A real process with both ports: its drain, a port that is taken, a machine without the extra."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from benchmarks.server import service_process
from tests.root import ROOT
from tests.service.rpc.asking import MODEL, Stream, free_port, given

pytestmark = pytest.mark.process

MEL = np.full((80, 20_000), -5.0, np.float32)
SETTINGS = {"UNMEL_LANES": "1", "UNMEL_WARM_PRESETS": '["hifigan-22k"]'}


@pytest.mark.loops
def test_both_ports_serve_and_what_came_by_either_is_answered_before_the_end() -> None:
    log: list[str] = []
    port = free_port()
    with service_process(log, UNMEL_GRPC_PORT=str(port), **SETTINGS) as (url, process):
        client = triton.InferenceServerClient(f"127.0.0.1:{port}")
        assert client.is_server_ready()
        assert httpx.get(f"{url}/readyz").status_code == 200
        stream, done = Stream(client), queue.Queue[tuple[Any, Any]]()
        client.async_infer(
            MODEL,
            [given(MEL)],
            lambda result, error: done.put((result, error)),
            parameters={"n_iter": 40},
        )
        while 'unmel_lanes{state="busy"} 1.0' not in httpx.get(f"{url}/metrics").text:
            pass
        stream.send(MEL.T[:40].copy(), parameters={"quality": "draft"}, sequence_start=True)
        while done.empty() and "unmel_queue_items 1.0" not in httpx.get(f"{url}/metrics").text:
            pass
        process.send_signal(signal.SIGTERM)
        result, error = done.get(timeout=60)
        assert error is None
        assert len(result.as_numpy("audio")) == 20_000 * 256
        assert stream.next().as_numpy("audio").size
        while (answer := stream.answers.get(timeout=60))[1] is None:
            pass
        assert "UNAVAILABLE" in str(answer[1])
        client.close()
        assert process.wait(30) == 0
    lines = [json.loads(line) for line in log if line.startswith("{")]
    routes = {line["route"]: line["status"] for line in lines if "route" in line}
    service = "/inference.GRPCInferenceService"
    assert routes[f"{service}/ModelInfer"] == routes[f"{service}/ModelStreamInfer"] == 200


@pytest.mark.loops
def test_a_second_signal_refuses_what_is_not_done() -> None:
    port, done = free_port(), queue.Queue[Any]()
    with (
        service_process(UNMEL_GRPC_PORT=str(port), **SETTINGS) as (url, process),
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        client.async_infer(
            MODEL, [given(MEL)], lambda **both: done.put(both["error"]), parameters={"n_iter": 2000}
        )
        while 'unmel_lanes{state="busy"} 1.0' not in httpx.get(f"{url}/metrics").text:
            pass
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/readyz").status_code == 200:
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        error = done.get(timeout=60)
    assert (error.status(), error.message()) == (
        "StatusCode.UNAVAILABLE",
        "The service shut down before the request was done.",
    )


def python(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "UNMEL_PORT": "0", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


RUN = "import sys; from unmel.service.__main__ import main; sys.exit(main())"


def test_a_port_that_is_taken_ends_the_start_with_a_line_about_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = python(RUN, UNMEL_GRPC_PORT=str(port), **SETTINGS)
    assert ended.returncode == 3  # as uvicorn's, when that of HTTP is
    assert "the port of gRPC cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extra_a_port_says_what_to_install_and_no_port_asks_for_none() -> None:
    without = "import sys; sys.modules['grpc'] = sys.modules['tritonclient'] = None\n"
    ended = python(without + RUN, UNMEL_GRPC_PORT="8001")
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1] == (
        "UNMEL_GRPC_PORT: got 8001; expected 0, or pip install 'unmel[grpc]'"
    )
    assert "Traceback" not in ended.stderr
    made = """
from unmel.models.engine import Engine
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.server import Server
Server(create_app(Settings(), Engine()), Settings())
"""
    assert python(without + made).returncode == 0
