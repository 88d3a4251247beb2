"""Requests as real clients write them: nulls, empty fields, options in files, words for flags."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.service.asking import HIFIGAN, MEL, npy, post, problem, read
from tests.signals import voice
from unmel.service.wire.schemas import ChunkedOptions, ReconstructOptions, StreamOptions

CONFIG = json.loads(HIFIGAN.model_dump_json())
JSON = {"Content-Type": "application/json"}
OPTIONS = {"config": "hifigan-22k", "n_iter": 4}


def wav() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, voice(0.5), 22050, format="WAV")
    return stream.getvalue()


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
    nothing = dict.fromkeys(("gain", "seed", "sample_rate", "format", "params", "stream"), text)
    assert post(client, **nothing).content == post(client).content
    form = client.post("/reconstruct", data={**OPTIONS, **nothing}, files={"mel": npy(MEL)})
    assert form.content == post(client).content
    given = client.post(
        "/reconstruct?gain=-6", data={**OPTIONS, "gain": text}, files={"mel": npy(MEL)}
    )
    assert given.content == post(client, gain=-6).content
    problem(post(client, config=text), 422, "config")
    problem(post(client, colour=text), 422, "colour")


# --- forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", "\ufeff".encode()])
def test_an_option_of_a_form_may_be_a_file(client: TestClient, start: bytes) -> None:
    """As `curl -F config=@config.json` and a browser's Blob send it."""
    files = {
        "mel": ("x.npy", npy(MEL), "text/plain"),
        "config": ("blob", start + HIFIGAN.model_dump_json(indent=1).encode() + b"\n"),
        "n_iter": ("n.txt", b"4\n"),
        "params": ("blob", b"null", "application/json"),
        "seed": ("empty.txt", b""),
    }
    assert client.post("/reconstruct", files=files).content == post(client).content
    audio = {"audio": wav(), "config": ("config.json", start + HIFIGAN.model_dump_json().encode())}
    answer = client.post("/analyze", files=audio)
    assert answer.content == client.post(
        "/analyze?config=hifigan-22k", files={"audio": wav()}
    ).content  # fmt: skip
    assert answer.status_code == 200


def test_a_faulty_option_in_a_file_is_refused_by_name(client: TestClient) -> None:
    def ask(route: str = "/reconstruct", **files: Any) -> Any:
        return client.post(f"{route}?config=hifigan-22k", files={"mel": npy(MEL), **files})

    problem(ask(gain=b"\xff\xfe"), 422, "gain")
    problem(ask(gain=b"loud"), 422, "gain")
    problem(ask(gain=b" " * 2**20 + b"3"), 413, "gain")
    problem(ask(config=b"{}"), 422, "config")
    unknown = problem(ask(picture=b"\x89PNG"), 422, "picture")
    assert unknown["got"] == "a file"
    assert "gain" in unknown["expected"]
    problem(ask("/analyze", audio=wav()), 422, "mel")
    many = problem(ask(**{f"x{n}": b"1" for n in range(40)}), 400, "body")
    assert "at most 32" in many["expected"]


@pytest.mark.parametrize("name", ["mel", "phases"])
def test_an_array_in_a_text_field_is_told_how_to_be_a_file(client: TestClient, name: str) -> None:
    files = {"note": b"x"} if name == "mel" else {"mel": npy(MEL)}
    data = {**OPTIONS, name: "[[1, 2], [3, 4]]"}
    refused = problem(client.post("/reconstruct", data=data, files=files), 422, name)
    assert refused["got"] == "a text field of 16 characters"
    assert f"-F {name}=@FILE" in refused["expected"]


def test_a_file_input_of_a_page_that_was_left_empty_is_not_given(client: TestClient) -> None:
    empty = b'--x\r\nContent-Disposition: form-data; name="phases"; filename=""\r\n\r\n\r\n--x'
    head = b'\r\nContent-Disposition: form-data; name="mel"; filename="m"\r\n\r\n'
    body = empty + head + npy(MEL) + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/reconstruct", params=OPTIONS, content=body, headers=headers)
    assert answer.content == post(client).content


# --- flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "on"])
def test_true_may_be_written_in_many_ways_and_in_the_query_or_the_body(
    client: TestClient, text: str
) -> None:
    mel, config = {"mel": npy(MEL)}, {"config": "hifigan-22k"}
    want = client.post("/reconstruct?stream=true", data=config, files=mel)
    assert want.status_code == 200
    assert "x-pack-items" not in want.headers
    for answer in (
        client.post(f"/reconstruct?stream={text}", data=config, files=mel),
        client.post("/reconstruct", data={**config, "stream": text}, files=mel),
        client.post("/reconstruct", data=config, files={**mel, "stream": text.encode()}),
        client.post("/reconstruct", json={"mel": MEL.tolist(), **config, "stream": text}),
        client.post("/reconstruct", json={"mel": MEL.tolist(), **config, "stream": True}),
    ):
        assert answer.content == want.content, answer.text


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off", ""])
def test_false_may_be_written_in_many_ways_too(client: TestClient, text: str) -> None:
    assert post(client, stream=text).content == post(client).content
    data = {**OPTIONS, "stream": text}
    answer = client.post("/reconstruct", data=data, files={"mel": npy(MEL)})
    assert answer.content == post(client).content


def test_no_flag_is_refused_and_two_are_too(client: TestClient) -> None:
    problem(post(client, stream="perhaps"), 422, "stream")
    body = {"mel": MEL.tolist(), "config": "hifigan-22k"}
    problem(client.post("/reconstruct", json={**body, "stream": "perhaps"}), 422, "stream")
    for query in ("true", "false"):
        answer = client.post(f"/reconstruct?stream={query}", json={**body, "stream": True})
        problem(answer, 422, "stream")


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
