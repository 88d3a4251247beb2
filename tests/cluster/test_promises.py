"""What one process promises holds on two nodes of Ray."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import yaml
from websockets.sync.client import connect

from benchmarks.ray_server import ROOT, RayService, ray_service
from tests.cluster.jobs import Job, mel
from unmel.models.engine.engine import Engine
from unmel.models.engine.session import Session
from unmel.models.engine.streams import Options
from unmel.models.mel.presets import PRESETS
from unmel.service.ops.settings import Settings


@pytest.fixture(scope="module")
def service() -> Iterator[RayService]:
    with ray_service((1, 1), replicas=2) as running:
        yield running


@pytest.fixture
def client(service: RayService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=120) as made:
        yield made


def test_an_answer_has_the_bytes_of_one_process_and_the_callers_id(
    client: httpx.Client, jobs: list[Job]
) -> None:
    for k, job in enumerate(jobs):
        answer = job.post(client, **{"X-Request-ID": f"mine-{k}"})
        assert answer.content == job.expected
        assert answer.headers.get_list("x-request-id") == [f"mine-{k}"]
        assert "compute" in answer.headers["server-timing"]


def test_a_wrong_request_is_told_what_would_do(client: httpx.Client, jobs: list[Job]) -> None:
    answer = Job({"config": "nothing"}, jobs[0].body).post(client)
    assert answer.status_code == 422
    assert answer.json()["field"] == "config"


def test_a_deadline_that_has_passed_is_answered_so(client: httpx.Client, jobs: list[Job]) -> None:
    answer = jobs[0].post(client, **{"X-Deadline-Ms": "1"})
    assert answer.status_code in (503, 504)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_request_that_cannot_be_answered_in_time_is_refused_with_retry_after(
    client: httpx.Client,
) -> None:
    """Its kind was measured just before, on whichever replica it comes to."""
    body, params = mel("hifigan-22k", 60), {"config": "hifigan-22k", "n_iter": 8}
    for _ in range(8):
        assert Job(params, body).post(client).status_code == 200
    large = Job({**params, "n_iter": 2000}, mel("hifigan-22k", 4000))
    answer = large.post(client, **{"X-Deadline-Ms": "2000"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["estimate_seconds"] > 2


def test_the_metrics_of_every_replica_are_at_one_address(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    replicas = set(re.findall(r'^unmel_queue_items\{replica="(\w+)"\}', text, re.M))
    assert len(replicas) == 2
    assert text.count("# TYPE unmel_requests_total counter") == 1
    ready = re.findall(r'^unmel_lanes\{replica="(\w+)",state="idle"\}', text, re.M)
    assert set(ready) == replicas


@pytest.mark.loops
def test_a_stream_comes_through_with_the_samples_of_one_process(service: RayService) -> None:
    config = PRESETS["hifigan-22k"].config
    values = np.load(io.BytesIO(mel("hifigan-22k", 60))).T.copy()
    session = Session(config, Options("draft", 8, 3), Engine())
    expected = np.concatenate([session.push(values), session.finish()])
    hello = {"config": "hifigan-22k", "quality": "draft", "lookahead": 8, "seed": 3}
    data = b""
    with connect(service.url.replace("http", "ws") + "/stream", open_timeout=30) as stream:
        stream.send(json.dumps({**hello, "format": "f32le"}))
        for k in range(0, 60, 7):
            stream.send(values[k : k + 7].tobytes())
        stream.send(json.dumps({"end": True}))
        while isinstance(message := stream.recv(60), bytes):
            data += message
    assert json.loads(message)["samples"] == len(expected)
    assert data == expected.astype("<f4").tobytes()


def test_requests_go_where_their_plan_is(client: httpx.Client) -> None:
    """A config that no replica knows is served by one; from then on it is that one's."""
    query = httpx.QueryParams({"config": "speecht5-16k", "n_iter": 1})

    def misses() -> dict[str, float]:
        text = client.get("/metrics").text
        found = re.findall(r'^unmel_plan_cache_misses_total\{replica="(\w+)"\} (\S+)', text, re.M)
        return {replica: float(value) for replica, value in found}

    before = misses()
    body = mel("speecht5-16k", 40)
    assert Job(dict(query), body).post(client).status_code == 200
    time.sleep(5.0)  # routing stats go round every two seconds
    for _ in range(20):
        assert Job(dict(query), body).post(client).status_code == 200
    made = {replica: value - before[replica] for replica, value in misses().items()}
    assert sorted(made.values()) == [0.0, 1.0]


def test_the_deployments_file_is_one_that_ray_takes_and_in_keeping_with_the_settings() -> None:
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - after its environment is set

    config = yaml.safe_load((ROOT / "docker" / "serve.yaml").read_text())
    ServeDeploySchema.model_validate(config)
    [unmel] = config["applications"][0]["deployments"]
    settings = Settings()
    assert config["http_options"]["request_timeout_s"] > settings.deadline_seconds
    assert unmel["graceful_shutdown_timeout_s"] > settings.drain_seconds
    scaling = unmel["autoscaling_config"]
    assert scaling["max_replicas"] > scaling["min_replicas"]
    assert scaling["target_ongoing_requests"] < unmel["max_ongoing_requests"]
