"""A filterbank of one's own over HTTP: every way in, by its digest afterwards, and who holds it."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy
import soundfile
from fastapi.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.banks import MELS, OUT_OF_ORDER, config_of
from tests.service.asking import HIFIGAN, MEL, NPY, SAMPLES, npy, post, problem, read
from tests.signals import voice
from unmel.models.engine.engine import Engine
from unmel.models.mel import OwnFilterbank
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.wire.media import FRAMES, NPZ, SAFETENSORS

SINGLE = MELS.astype(np.float32)
DIGEST = OwnFilterbank(SINGLE).digest
CONFIG = json.loads(config_of(SINGLE).model_dump_json(exclude_unset=True, exclude={"filterbank"}))
OPTIONS = {"config": json.dumps(CONFIG), "n_iter": 4}
NAMED = json.dumps({**CONFIG, "filterbank": DIGEST})


@pytest.fixture(scope="module")
def fresh() -> Iterator[TestClient]:
    """A service of which the tests here are the only clients."""
    settings = Settings(lanes=1, warm_presets=(), max_frames=2000, filterbank_mb=32)
    with TestClient(create_app(settings, Engine())) as made:
        yield made


def coded(bank: np.ndarray) -> dict[str, Any]:
    raw = base64.b64encode(bank.astype("<f4").tobytes()).decode()
    return {"data": raw, "dtype": "float32", "shape": list(bank.shape)}


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def send(client: TestClient, config: object, **more: Any) -> httpx.Response:
    return client.post("/reconstruct", json={"mel": MEL.tolist(), "config": config, **more})


def digest_of(seed: int) -> str:
    return OwnFilterbank(bank_of(seed)).digest


def bank_of(seed: int, bands: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).random((bands, 513)).astype(np.float32)


def test_every_way_in_gives_the_same_bytes_and_then_the_digest_does(client: TestClient) -> None:
    tensors = {"mel": MEL, "filterbank": SINGLE}
    answers = [
        send(client, {**CONFIG, "filterbank": SINGLE.tolist()}, n_iter=4),
        send(client, {**CONFIG, "filterbank": coded(SINGLE)}, n_iter=4),
        client.post("/reconstruct", params=OPTIONS, content=npz(**tensors),
                    headers={"Content-Type": NPZ}),
        client.post("/reconstruct", params=OPTIONS, content=safetensors.numpy.save(tensors),
                    headers={"Content-Type": SAFETENSORS}),
        client.post("/reconstruct", data=OPTIONS,
                    files={"mel": npy(MEL), "filterbank": npy(SINGLE.astype(np.float64))}),
        client.post("/reconstruct", params=OPTIONS, files={"mel": npz(**tensors)}),
        send(client, json.loads(NAMED), n_iter=4),
        post(client, config=NAMED),
        post(client, config=NAMED.replace("sha256:", "SHA256:")),
    ]  # fmt: skip # a row a way in
    assert len(read(answers[0])) == SAMPLES
    assert {answer.content for answer in answers} == {answers[0].content}
    assert {answer.headers["x-filterbank"] for answer in answers} == {DIGEST}


def test_the_samples_are_those_of_the_same_triangles_but_for_its_roundings(
    client: TestClient,
) -> None:
    send(client, {**CONFIG, "filterbank": coded(SINGLE)}, n_iter=4)
    own = read(post(client, config=NAMED, format="wav_f32"))
    preset = post(client, format="wav_f32")
    assert "x-filterbank" not in preset.headers
    assert np.linalg.norm(own - read(preset)) < 1e-2 * np.linalg.norm(own)


def test_bands_out_of_order_are_taken_too(client: TestClient) -> None:
    bank = OUT_OF_ORDER["gammatone"]
    config = {**CONFIG, "n_mels": 64, "filterbank": coded(bank)}
    files = {"audio": wav(), "filterbank": npy(bank.astype(np.float32))}
    bare = json.dumps({**CONFIG, "n_mels": 64})
    analyzed = client.post("/analyze", files=files, data={"config": bare})
    mel = np.load(io.BytesIO(analyzed.content))
    assert mel.shape == (64, MEL.shape[1])
    answer = client.post("/reconstruct", json={"mel": mel.tolist(), "config": config, "n_iter": 4})
    assert len(read(answer)) == SAMPLES
    assert analyzed.headers["x-filterbank"] == answer.headers["x-filterbank"]


def wav() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, voice(0.5), 22050, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_analyze_and_streams_name_it_too(client: TestClient) -> None:
    send(client, {**CONFIG, "filterbank": coded(SINGLE)}, n_iter=4)
    answer = client.post("/analyze", files={"audio": wav()}, data={"config": NAMED})
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content)), MEL, atol=1e-4)
    options = {"config": NAMED, "stream": "true", "quality": "draft"}
    whole = client.post("/reconstruct", params=options, content=npy(MEL), headers=NPY)
    frames = client.post(
        "/reconstruct",
        params=options,
        content=np.ascontiguousarray(MEL.T).tobytes(),
        headers={"Content-Type": FRAMES},
    )
    carried = client.post(
        "/reconstruct",
        params={**options, "config": json.dumps(CONFIG)},
        content=npz(mel=MEL, filterbank=SINGLE),
        headers={"Content-Type": NPZ},
    )
    samples = [answer.content[44:] for answer in (whole, frames, carried)]
    assert len(samples[0]) == 2 * SAMPLES
    assert samples[0] == samples[1] == samples[2]
    assert all(a.headers["x-filterbank"] == DIGEST for a in (answer, whole, frames, carried))


@pytest.mark.parametrize("carried", [True, False])
def test_a_websocket_carries_or_names_it_and_says_its_digest(url: str, *, carried: bool) -> None:
    bank = coded(SINGLE) if carried else DIGEST
    if not carried:
        httpx.post(f"{url}/reconstruct", json={"mel": MEL.tolist(),
                   "config": {**CONFIG, "filterbank": coded(SINGLE)}})  # fmt: skip
    hello = {"config": {**CONFIG, "filterbank": bank}, "quality": "draft", "format": "f32le"}
    with connect(f"{url.replace('http', 'ws')}/stream", max_size=None) as socket:
        socket.send(json.dumps(hello))
        socket.send(np.ascontiguousarray(MEL.T).tobytes())
        socket.send(json.dumps({"end": True}))
        received = list(socket)
    summary = json.loads(received.pop())
    assert sum(map(len, received)) == 4 * SAMPLES
    assert summary["filterbank"] == DIGEST


def test_a_websocket_is_told_that_it_is_not_held(url: str) -> None:
    hello = {"config": {**CONFIG, "filterbank": digest_of(1)}}
    with connect(f"{url.replace('http', 'ws')}/stream") as socket:
        socket.send(json.dumps(hello))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert f"config.filterbank: got {digest_of(1)}" in closed.value.rcvd.reason


@pytest.mark.parametrize("way", ["/reconstruct", "/reconstruct?stream=true", "/analyze"])
def test_one_that_is_not_held_is_404_with_the_reason(client: TestClient, way: str) -> None:
    files = {"audio": wav()} if way == "/analyze" else {"mel": npy(MEL)}
    config = json.dumps({**CONFIG, "filterbank": digest_of(2)})
    body = problem(client.post(way, files=files, data={"config": config}), 404, "config.filterbank")
    assert body["got"] == digest_of(2)
    assert "send it again" in body["expected"]


def test_only_answered_requests_fill_the_store_and_the_least_recently_used_leaves_it(
    fresh: TestClient,
) -> None:
    """Thirty-two mebibytes hold 102 of these."""

    def held(seed: int) -> bool:
        config = {**CONFIG, "filterbank": digest_of(seed)}
        return post(fresh, config=json.dumps(config)).status_code == 200

    def carry(number: int, **more: object) -> int:
        config = {**CONFIG, "filterbank": coded(bank_of(number))}
        answer = fresh.post("/reconstruct", json={"mel": MEL[:, :2].tolist(), "config": config,
                                                  "n_iter": 1, **more})  # fmt: skip
        return answer.status_code

    def held_bytes() -> float:
        text = fresh.get("/metrics").text
        return float(re.findall(r"^unmel_filterbank_bytes (.*)$", text, re.MULTILINE)[0])

    assert carry(0, seed=-1) == 422
    assert carry(0, length=10**6) == 422
    assert not held(0)
    assert carry(0) == 200
    size = 80 * 513 * 8
    assert held_bytes() == size
    for seed in range(1, 102):
        assert carry(seed) == 200
    assert held(0)  # used just now: the next one to leave is 1
    assert carry(102) == 200
    assert [held(seed) for seed in (0, 1, 2, 102)] == [True, False, True, True]
    assert held_bytes() == 102 * size


@pytest.mark.parametrize(
    ("config", "status", "field"),
    [
        ({"filterbank": SINGLE.tolist(), "fmin": 0}, 422, "config.fmin"),
        ({"filterbank": SINGLE.tolist(), "mel_scale": "htk"}, 422, "config.mel_scale"),
        ({"filterbank": SINGLE.tolist(), "norm": None}, 422, "config.norm"),
        ({"filterbank": SINGLE.tolist(), "triangles": "mel"}, 422, "config.triangles"),
        ({"filterbank": (-SINGLE).tolist()}, 422, "config.filterbank"),
        ({"filterbank": SINGLE[:, :-1].tolist()}, 422, "config.filterbank"),
        ({"filterbank": [[1.0], "a"]}, 422, "config.filterbank"),
        ({"filterbank": []}, 422, "config.filterbank"),
        ({"filterbank": 3}, 422, "config.filterbank"),
        ({"filterbank": "sha256:12"}, 422, "config.filterbank"),
        ({"filterbank": "librosa"}, 422, "config.filterbank"),
        ({"filterbank": {"data": "?", "shape": [1, 1]}}, 400, "config.filterbank.data"),
        ({"filterbank": {"data": "", "shape": [80, 513]}}, 422, "config.filterbank.data"),
        ({"filterbank": {"path": "/etc/passwd"}}, 422, "config.filterbank"),
    ],
)
def test_what_is_no_filterbank_is_refused_by_its_field(
    client: TestClient, config: dict[str, object], status: int, field: str
) -> None:
    problem(send(client, {**CONFIG, **config}), status, field)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ("hifigan-22k", "filterbank"),
        (NAMED, "filterbank"),
        (json.dumps({**CONFIG, "fmax": 8000}), "config.fmax"),
        ("{", "config"),
        ("[1]", "filterbank"),
        (None, "config"),
    ],
)
def test_an_array_beside_the_mel_needs_a_config_without_one(
    client: TestClient, config: str | None, field: str
) -> None:
    body = npz(mel=MEL, filterbank=SINGLE)
    params = {} if config is None else {"config": config}
    answer = client.post("/reconstruct", params=params, content=body, headers={"Content-Type": NPZ})
    problem(answer, 422, field)


def test_a_refusal_says_the_sizes_that_came(client: TestClient) -> None:
    config = {**CONFIG, "filterbank": coded(SINGLE.T.copy())}
    assert problem(send(client, config), 422, "config.filterbank")["got"] == "an array 513x80"


def test_null_is_no_filterbank(client: TestClient) -> None:
    config = {**HIFIGAN.model_dump(), "filterbank": None}
    assert send(client, config, n_iter=4).content == post(client).content
    form = {"config": "hifigan-22k", "n_iter": "4", "filterbank": "null", "phases": ""}
    answer = client.post("/reconstruct", data=form, files={"mel": npy(MEL)})
    assert answer.content == post(client).content


def test_another_name_and_another_field_are_told_the_right_one(client: TestClient) -> None:
    config = {**CONFIG, "mel_basis": SINGLE.tolist()}
    assert "filterbank" in problem(send(client, config), 422, "config.mel_basis")["expected"]
    form = {"config": json.dumps(CONFIG), "filterbank": "[[1, 2]]"}
    answer = client.post("/reconstruct", data=form, files={"mel": npy(MEL)})
    assert "a file field" in problem(answer, 422, "filterbank")["expected"]
