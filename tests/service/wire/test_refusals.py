"""What POST /reconstruct refuses, by name, and what a fault gives away."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.service.asking import HIFIGAN, MEL, NPY, npy, post, problem, read


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "mel"),
        (b"no npy", 400, "mel"),
        (npy(MEL)[:-4], 400, "mel"),
        (npy(np.zeros((79, 9), np.float32)), 422, "mel"),
        (npy(np.zeros((80, 0), np.float32)), 422, "mel"),
        (npy(np.zeros(80, np.float32)), 422, "mel"),
        (npy(np.full((80, 9), np.nan, np.float32)), 422, "mel"),
        (npy(np.full((80, 9), np.inf, np.float32)), 422, "mel"),
        (npy(np.full((80, 9), 40.0, np.float32)), 422, "mel"),
        (npy(np.zeros((80, 2001), np.float32)), 413, "mel"),
        (npy(np.zeros((80, 9), complex)), 422, "mel"),
        (b"x" * (2 * 2**20 + 1), 413, "body"),
    ],
)
def test_wrong_mels_are_refused(client: TestClient, body: bytes, status: int, field: str) -> None:
    problem(post(client, body), status, field)


def test_an_object_array_is_refused_and_not_unpickled(client: TestClient) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    body = problem(post(client, stream.getvalue()), 422, "mel")
    assert "object" in body["got"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"config": "nope"}, "config"),
        ({"config": "{"}, "config"),
        ({"config": '{"n_fft": 512}'}, "config.sample_rate"),
        ({"config": "librosa"}, "mel"),
        ({"quality": "best"}, "quality"),
        ({"method": "magic"}, "method"),
        ({"inversion": "magic"}, "inversion"),
        ({"phase": "magic"}, "phase"),
        ({"method": "consistent", "phase": "griffin_lim"}, "method"),
        ({"n_iter": -1}, "n_iter"),
        ({"n_iter": 65}, "n_iter"),
        ({"n_iter": "many"}, "n_iter"),
        ({"momentum": 3}, "momentum"),
        ({"momentum": "nan"}, "momentum"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"length": 0}, "length"),
        ({"format": "mp5"}, "format"),
        ({"format": "npy"}, "format"),
        ({"format": "wav", "output": "stft"}, "format"),
        ({"output": "mel"}, "output"),
        ({"layout": "sideways"}, "layout"),
        ({"normalize": "loud"}, "normalize"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_wrong_options_are_refused_by_name(
    client: TestClient, options: dict[str, Any], field: str
) -> None:
    problem(post(client, **options), 422, field)


CONFIG = json.loads(HIFIGAN.model_dump_json())


@pytest.mark.parametrize(
    ("change", "field", "got", "expected"),
    [
        ({"win_length": 2048}, "win_length", "2048", "at most n_fft, 1024"),
        ({"fmin": 9000}, "fmin", "9000", "less than fmax, 8000"),
        ({"mean": [0] * 79}, "mean", "79 values", "one number, or 80: as many as n_mels"),
        ({"std": []}, "std", "0 values", "one number, or 80: as many as n_mels"),
        ({"mean": "loud"}, "mean", "'loud'", "a number"),
        ({"mean": [0, "x"]}, "mean.1", "'x'", "a number"),
        ({"mean": {"a": 1}}, "mean", "an object with 1 members", "a number, or a list of numbers"),
        ({"scale": "log"}, "scale", "'log'", "'ln', the natural logarithm, or 'log10'"),
        ({"scale": {"kind": "log"}}, "scale.kind", "'log'", "'ln', the natural logarithm"),
        ({"scale": "dB"}, "scale", "'dB'", "one of linear, ln, log10, db"),
        ({"scale": "decibel"}, "scale", "'decibel'", "'db'"),
        ({"scale": 3}, "scale", "3", "the name of a scale, or an object"),
        ({"scale": {"clip": 1e-5}}, "scale.kind", "nothing", "one of linear, ln"),
        ({"scale": {"kind": "ln", "amin": 1}}, "scale.amin", "an unknown member", "'clip'"),
        ({"scale": {"kind": "ln", "clip": 0}}, "scale.clip", "0", "1e-30 or more"),
        ({"scale": {"kind": "db", "top_db": -1}}, "scale.top_db", "-1", "greater than 0"),
        ({"n_fft": "1,024"}, "n_fft", "'1,024'", "a whole number"),
        ({"n_fft": 1024.5}, "n_fft", "1024.5", "a whole number"),
        ({"fmax": "8 kHz"}, "fmax", "'8 kHz'", "a number"),
        ({"drop_last": "perhaps"}, "drop_last", "'perhaps'", "true or false"),
        ({"n_mel": 80}, "n_mel", "an unknown member", "'n_mels'"),
        ({"hop": 256}, "hop", "an unknown member", "'hop_length'"),
        ({"sr": 22050}, "sr", "an unknown member", "'sample_rate'"),
        ({"f_max": 8000}, "f_max", "an unknown member", "'fmax'"),
        ({"filter_length": 1024}, "filter_length", "an unknown member", "'n_fft'"),
        ({"num_mels": 80}, "num_mels", "an unknown member", "'n_mels'"),
        ({"clip_val": 80}, "clip_val", "an unknown member", "'clip' in 'scale'"),
        ({"hop_lenght": 256}, "hop_lenght", "an unknown member", "'hop_length'"),
        ({"colour": 1}, "colour", "an unknown member", "one of sample_rate, n_fft"),
    ],
)
def test_a_wrong_member_of_a_config_is_told_what_would_do(
    client: TestClient, change: dict[str, Any], field: str, got: str, expected: str
) -> None:
    body = {"mel": MEL.tolist(), "config": {**CONFIG, **change}}
    refused = problem(client.post("/reconstruct", json=body), 422, f"config.{field}")
    assert refused["got"].startswith(got)
    assert refused["expected"].startswith(expected)
    assert "errors" not in refused


def test_a_config_of_another_project_is_told_all_of_its_names(client: TestClient) -> None:
    config = {"sampling_rate": 22050, "n_fft": 1024, "hop_size": 256, "win_size": 1024}
    body = {"mel": MEL.tolist(), "config": {**config, "num_mels": 80, "mel_fmax": 8000}}
    refused = problem(client.post("/reconstruct", json=body), 422, None)
    assert {fault["field"]: fault["expected"] for fault in refused["errors"]} == {
        "config.sampling_rate": "'sample_rate'",
        "config.hop_size": "'hop_length'",
        "config.win_size": "'win_length'",
        "config.num_mels": "'n_mels'",
        "config.mel_fmax": "'fmax'",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("preset", "'config'"),
        ("iterations", "'n_iter'"),
        ("response_format", "'format'"),
        ("n_fft", "'n_fft' in 'config'"),
        ("mel_fmax", "'fmax' in 'config'"),
        ("qualty", "'quality'"),
        ("colour", "one of config, quality"),
    ],
)
def test_an_unknown_option_is_told_the_one_that_is_meant(
    client: TestClient, name: str, expected: str
) -> None:
    assert problem(post(client, **{name: "1"}), 422, name)["expected"].startswith(expected)


def test_every_wrong_field_is_named_at_once(client: TestClient) -> None:
    body = problem(post(client, seed=-1, quality="best"), 422, None)
    assert {fault["field"] for fault in body["errors"]} == {"seed", "quality"}


def test_a_missing_config_is_asked_for(client: TestClient) -> None:
    answer = client.post("/reconstruct", content=npy(MEL), headers=NPY)
    assert problem(answer, 422, "config")["got"] == "nothing"


def test_an_option_given_twice_is_refused(client: TestClient) -> None:
    twice = client.post("/reconstruct?seed=1&seed=2", content=npy(MEL), headers=NPY)
    problem(twice, 422, "seed")
    both = client.post("/reconstruct?seed=1", json={"mel": [[0]], "config": "librosa", "seed": 1})
    problem(both, 422, "seed")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_an_unread_media_type_is_refused_with_those_that_are(
    client: TestClient, media: str
) -> None:
    headers = {"Content-Type": media}
    answer = client.post("/reconstruct?config=librosa", content=b"x", headers=headers)
    assert "application/x-npy" in problem(answer, 415, "Content-Type")["expected"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"[]", 422, "body"),
        (b'{"config": "librosa"}', 422, "mel"),
        (b'{"mel": [[1, 2], [3]], "config": "librosa"}', 422, "mel"),
        (b'{"mel": [[NaN]], "config": "librosa"}', 422, "mel"),
        (b"[" * 5000, 400, "body"),
    ],
)
def test_wrong_json_is_refused(client: TestClient, body: bytes, status: int, field: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem(client.post("/reconstruct", content=body, headers=headers), status, field)


def test_wrong_forms_are_refused(client: TestClient) -> None:
    broken = {"Content-Type": "multipart/form-data"}
    problem(client.post("/reconstruct", content=b"x", headers=broken), 400, "body")
    problem(client.post("/reconstruct", files={"file": npy(MEL)}), 422, "mel")
    problem(client.post("/reconstruct", files={"mel": b""}), 400, "mel")


def test_a_chunked_body_is_counted_while_it_is_read(client: TestClient) -> None:
    def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 2**16

    answer = client.post(
        "/reconstruct", params={"config": "librosa"}, content=chunks(), headers=NPY
    )
    problem(answer, 413, "body")


def test_thousands_of_unknown_fields_get_a_short_answer(client: TestClient) -> None:
    body = {"mel": [[0]], "config": "librosa", **{f"x{n}": n for n in range(20_000)}}
    assert len(client.post("/reconstruct", json=body).content) < 2000
    body = {"mel": [[0]], "config": {f"x{n}": n for n in range(20_000)}}
    assert len(problem(client.post("/reconstruct", json=body), 422, "config")["detail"]) < 2000


def test_a_request_of_too_many_points_is_refused(client: TestClient) -> None:
    config = HIFIGAN.model_copy(update={"n_fft": 16384, "win_length": 1024, "n_mels": 2})
    wide = config.model_copy(update={"padding": "center_reflect"}).model_dump_json()
    settings_points = 2**26 // 16384
    mel = np.full((2, min(settings_points + 1, 2000)), -5.0, np.float32)
    problem(post(client, npy(np.tile(mel, (1, 3))), config=wide), 413, "mel")


def test_an_unforeseen_fault_is_a_500_problem_with_its_request_id(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unmel.service.wire.requests.accept_mel", lambda *_: 1 / 0)
    body = problem(post(client), 500, None)
    assert "division" not in json.dumps(body)
    monkeypatch.undo()
    read(post(client))
