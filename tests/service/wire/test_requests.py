"""Requests as real clients write them: nulls, empty fields, options in files, words for flags."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.service.asking import HIFIGAN, MEL, npy, post, problem, read
from unmel.service.wire.schemas import ChunkedOptions, ReconstructOptions, StreamOptions

CONFIG = json.loads(HIFIGAN.model_dump_json())
JSON = {"Content-Type": "application/json"}
OPTIONS = {"config": "hifigan-22k", "n_iter": 4}


@pytest.mark.parametrize("kind", [ReconstructOptions, ChunkedOptions, StreamOptions])
def test_null_is_not_given_in_every_option(kind: Any) -> None:
    nulls = dict.fromkeys(kind.model_fields)
    assert kind(**{**nulls, "config": HIFIGAN}) == kind(config=HIFIGAN)
    if "params" in nulls:
        assert kind(config=HIFIGAN, params={"tolerance": None}).params == {}


def test_null_is_not_given_in_a_json_body(client: TestClient) -> None:
    nulls = dict.fromkeys(name for name in ReconstructOptions.model_fields if name not in OPTIONS)
    config = {**CONFIG, "win_length": None, "mean": None, "filterbank_rate": None, "fmin": None}
    body = {"mel": MEL.tolist(), "phases": None, **nulls, **OPTIONS, "config": config}
    assert client.post("/reconstruct", json=body).content == post(client).content
    problem(client.post("/reconstruct", json={**body, "mel": None}), 422, "mel")
    missing = problem(client.post("/reconstruct", json={**body, "config": None}), 422, "config")
    assert missing["got"] == "nothing"
    config["sample_rate"] = None
    missing = problem(client.post("/reconstruct", json=body), 422, "config.sample_rate")
    assert missing["got"] == "nothing"


@pytest.mark.parametrize("text", ["", "null", "None", " "])
def test_a_text_that_says_nothing_is_not_given_in_a_query_and_a_form(
    client: TestClient, text: str
) -> None:
    nothing = dict.fromkeys(("gain", "seed", "sample_rate", "format", "params"), text)
    assert post(client, **nothing).content == post(client).content
    form = client.post("/reconstruct", data={**OPTIONS, **nothing}, files={"mel": npy(MEL)})
    assert form.content == post(client).content
    given = client.post(
        "/reconstruct?gain=-6", data={**OPTIONS, "gain": text}, files={"mel": npy(MEL)}
    )
    assert given.content == post(client, gain=-6).content
    problem(post(client, config=text), 422, "config")
    problem(post(client, colour=text), 422, "colour")


# --- arrays -------------------------------------------------------------------------------------


def test_axes_of_size_one_change_nothing(client: TestClient) -> None:
    want = post(client).content
    for mel in (MEL[None, None], MEL.T[None, None], MEL[..., None], MEL[None, ..., None]):
        assert post(client, npy(mel)).content == want
        assert client.post("/reconstruct", json={"mel": mel.tolist(), **OPTIONS}).content == want


def test_the_logarithm_of_zero_is_silence(client: TestClient) -> None:
    silence = np.full_like(MEL, -np.inf)
    assert not read(post(client, npy(silence))).any()
    rows = [[float("-inf")] * MEL.shape[1]] * len(MEL)
    body = json.dumps({"mel": rows, **OPTIONS})
    assert not read(client.post("/reconstruct", content=body, headers=JSON)).any()
    streamed = client.post(
        "/reconstruct?config=hifigan-22k&stream=true&format=pcm",
        content=np.ascontiguousarray(silence.T).tobytes(),
        headers={"Content-Type": "application/x-f32le"},
    )
    assert streamed.status_code == 200
    assert not any(streamed.content)
    with client.websocket_connect("/stream") as socket:
        socket.send_text(json.dumps({"config": "hifigan-22k"}))
        socket.send_bytes(np.ascontiguousarray(silence.T).tobytes())
        socket.send_text('{"end": true}')
        assert not any(socket.receive_bytes())
    tensor = {"name": "mel", "datatype": "FP32", "shape": list(MEL.shape), "data": rows}
    body = json.dumps({"inputs": [tensor], "parameters": {"n_iter": 2}})
    answer = client.post("/v2/models/hifigan-22k/infer", content=body, headers=JSON)
    assert not any(answer.json()["outputs"][0]["data"])
    for bad in (np.nan, np.inf):
        problem(post(client, npy(np.full_like(MEL, bad))), 422, "mel")
