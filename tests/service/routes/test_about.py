"""What the service says of itself: ready, presets, methods, paths, its API."""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient

from tests.service.asking import post, problem, read
from tests.service.conftest import wait_until_ready
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.wire.schemas import ReconstructOptions


@pytest.mark.loops
def test_ready_only_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, gate = Engine(), threading.Event()
    warm = engine.plans.warm
    monkeypatch.setattr(engine.plans, "warm", lambda configs: gate.wait(30) and warm(configs))
    with TestClient(create_app(Settings(lanes=1, warm_presets=("librosa",)), engine)) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        gate.set()
        wait_until_ready(client)
        assert engine.plans.stats.plans == 1
        ready, backend = client.get("/readyz").json(), engine.backend
        assert ready["backend"] == backend.name == "numba"
        assert (ready["fft"], ready["device"]) == (backend.fft, "cpu")
        line = f'unmel_backend_info{{backend="numba",device="cpu",fft="{backend.fft}"}} 1.0'
        assert line in client.get("/metrics").text
        assert "backend" not in client.get("/livez").json()


def test_presets_carry_their_sources(client: TestClient) -> None:
    rows = client.get("/presets").json()
    assert {row["name"] for row in rows} == set(PRESETS)
    assert all(row["source"] for row in rows)
    one = client.get("/presets/whisper-80").json()
    assert one["config"] == PRESETS["whisper-80"].config.model_dump(mode="json")
    assert "hifigan-22k" in problem(client.get("/presets/nope"), 404, "name")["expected"]


def test_methods_describes_each_with_its_default_and_every_name_works(client: TestClient) -> None:
    about = client.get("/methods").json()
    for method in about["methods"]:
        assert len(method["summary"]) > 20
        assert method["source"]
        assert method["cost"]
        for parameter in method["parameters"]:
            assert parameter["lowest"] <= parameter["default"] <= parameter["highest"]
    for kind in ("joint", "inversion", "phase", "start"):
        rows = [method for method in about["methods"] if method["kind"] == kind]
        assert sum(row["default"] for row in rows) == 1
        for row in rows:
            option = "method" if kind == "joint" else kind
            read(post(client, **{option: row["name"]}))
    assert {(q["name"], q["power"]) for q in about["qualities"]} == {
        (name, power) for name in ("draft", "standard", "high") for power in (1, 2)
    }


def test_unknown_paths_and_verbs_are_problems_too(client: TestClient) -> None:
    problem(client.get("/nope"), 404, None)
    problem(client.get("/reconstruct"), 405, None)


def test_the_openapi_document_names_every_option(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/reconstruct"]["post"]
    options = set(ReconstructOptions.model_fields)
    parameters = {(parameter["in"], parameter["name"]) for parameter in operation["parameters"]}
    streamed = {"stream", "lookahead"}
    assert parameters == {
        *(("query", name) for name in options | streamed),
        ("header", "X-Deadline-Ms"),
    }
    bodies = operation["requestBody"]["content"]
    files = {f"application/{kind}" for kind in ("x-npy", "x-npz", "x-safetensors", "octet-stream")}
    assert set(bodies) == {*files, "application/json", "multipart/form-data"}
    arrays = {"mel", "phases"}
    beside = {"application/json": arrays, "multipart/form-data": arrays | {"filterbank"}}
    for media, names in beside.items():
        name = bodies[media]["schema"]["$ref"].removeprefix("#/components/schemas/")
        schema = document["components"]["schemas"][name]
        assert set(schema["properties"]) == options | streamed | names
    assert client.get("/docs").status_code == 200
