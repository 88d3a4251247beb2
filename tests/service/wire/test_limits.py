"""Bodies made to hurt: each is refused for its reason, with hardly more memory than it brought."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from unmel.service.ops.settings import Settings
from unmel.service.wire.bodies import Body
from unmel.service.wire.problems import status_of
from unmel.service.wire.requests import read_analyze_request, read_reconstruct_request

MB = 2**20
SETTINGS = Settings()
# Of a byte of JSON; see the weight in bodies.
MOST = 12
JSON, NPY, NPZ = "application/json", "application/x-npy", "application/x-npz"


def header(shape: str, descr: str = "'<f4'", more: str = "") -> bytes:
    """An npy file's head."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mel.npy", saved(array))
    return stream.getvalue()


def json_body(mel: object, **fields: object) -> bytes:
    return json.dumps({"mel": mel, "config": "hifigan-22k", **fields}).encode()


def coded(size: int, shape: list[int], dtype: str = "float32") -> dict[str, object]:
    return {"data": base64.b64encode(bytes(size)).decode(), "shape": shape, "dtype": dtype}


def flac(samples: int, rate: int = 22050, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros((samples, channels), np.float32), rate, format="FLAC")
    return stream.getvalue()


ZEROS = np.zeros((80, 500_000), np.uint8)
MANY = {f"x{n}": n for n in range(50_000)}
DEEP = b"[" * 100_000

RECONSTRUCT: list[tuple[str, str, bytes, int]] = [
    ("a shape beyond all memory", NPY, header("(99999999999, 80)"), 400),
    ("a product beyond all memory", NPY, header("(2147483647, 2147483647)"), 400),
    ("a negative shape", NPY, header("(-1, -80)"), 400),
    ("a shape of many axes", NPY, header("(" + "1," * 3000 + ")"), 400),
    ("a header without end", NPY, header("(80, 10)", more=" " * MB), 400),
    ("a header that nests", NPY, header("(" * 90_000), 400),
    ("a header longer than the file", NPY, b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", 400),
    ("objects", NPY, header("(80, 10)", "'|O'") + b"cos\nsystem\n", 422),
    ("text", NPY, header("(80, 10)", "'<U99'") + bytes(99 * 4 * 800), 422),
    ("an archive", NPY, npz(np.zeros((80, 10**5), np.float32)), 400),
    ("an archive of 320 MB in 320 kB", NPZ, npz(np.zeros((80, 10**6), np.float32)), 413),
    ("more frames than allowed, in single bytes", NPY, saved(ZEROS), 413),
    ("the same sideways", NPY, saved(ZEROS.T), 413),
    ("a line of numbers", NPY, saved(ZEROS.reshape(-1)), 413),
    ("JSON that nests", JSON, DEEP, 413),
    ("JSON that nests a little less", JSON, DEEP[:70_000], 400),
    ("millions of empty lists", JSON, b'{"mel": [' + b"[]," * 2_000_000 + b"[]]}", 413),
    ("millions of empty objects", JSON, b'{"mel": [' + b"{}," * 2_000_000 + b"{}]}", 413),
    ("a number of a million digits", JSON, b'{"mel": [[' + b"9" * MB + b"]]}", 400),
    ("numbers beyond all numbers", JSON, b'{"mel": [[1e999]], "config": "librosa"}', 422),
    ("a long string in place of a mel", JSON, json_body("x" * 5 * MB), 422),
    ("text of very different lengths", JSON, json_body([["a" * MB, *[""] * 10_000]]), 422),
    ("base64 that is none", JSON, json_body({"data": "!" * MB, "shape": [80, 10]}), 400),
    ("base64 of too few bytes", JSON, json_body(coded(4, [80, 2**31 - 1])), 422),
    ("base64 of an unknown kind", JSON, json_body(coded(4, [1, 1], "object")), 422),
    ("base64 of too few bytes again", JSON, json_body(coded(MB, [80, 70_000], "float16")), 422),
    ("thousands of options", JSON, json_body([[0]], **MANY), 422),
    ("a config of thousands", JSON, json_body([[0]], config=MANY), 422),
    ("a mean of thousands", JSON, json_body([[0]], config={"mean": [0.0] * 200_000}), 422),
    ("too long a transform", JSON, json_body([[0]], config={"n_fft": 2**20}), 422),
    ("too many bands", JSON, json_body([[0]], config={"n_mels": 10**6}), 422),
    ("too many iterations", NPY + "?n_iter=2001", saved(ZEROS[:, :9]), 422),
]  # fmt: skip # a row a bomb

ANALYZE = [
    ("hours of silence", "audio/flac", flac(2_000_000), 413),
    ("at a high rate, wanted at a low one", "audio/flac", flac(500_000, 655_350), 413),
    ("on many channels", "audio/flac", flac(100_000, channels=8), 413),
    ("an archive", "audio/wav", npz(np.zeros((80, 10**5), np.float32)), 400),
    ("a wav that claims gigabytes", "audio/wav", b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes(64), 400),
]  # fmt: skip

LOW_RATE = json.dumps(
    {
        "sample_rate": 1000,
        "n_fft": 64,
        "hop_length": 16,
        "n_mels": 8,
        "padding": "center_reflect",
        "scale": "ln",
    }
)


def refusal(read: Any) -> tuple[int, int]:
    """The status that a reading ends with, and the most bytes that it took meanwhile."""
    tracemalloc.start()
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the status says which
            read()
        return status_of(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def named(rows: list[tuple[str, str, bytes, int]]) -> Any:
    return pytest.mark.parametrize(
        ("media", "data", "status"), [pytest.param(*row, id=name) for name, *row in rows]
    )


@named(RECONSTRUCT)
def test_a_mel_made_to_hurt_is_refused_with_little_memory(
    media: str, data: bytes, status: int
) -> None:
    media, _, iterations = media.partition("?n_iter=")
    query = {} if media == JSON else {"config": "hifigan-22k"}
    query |= {"n_iter": iterations} if iterations else {}
    got, peak = refusal(lambda: read_reconstruct_request(Body(media, data), query, None, SETTINGS))
    assert got == status
    assert peak < MOST * len(data) + 4 * MB


@named(ANALYZE)
def test_audio_made_to_hurt_is_refused_with_little_memory(
    media: str, data: bytes, status: int
) -> None:
    settings = Settings(max_frames=3000)
    got, peak = refusal(
        lambda: read_analyze_request(Body(media, data), {"config": LOW_RATE}, settings)
    )
    assert got == status
    assert peak < MOST * len(data) + 4 * MB


@pytest.mark.slow
def test_the_largest_json_that_is_parsed_takes_no_more_than_is_held_for_it() -> None:
    for part in (b"1.5,", b"0,", b'"ab",', b"null,"):
        data = b'{"mel": [[' + part * (8 * MB // len(part) - 10) + b"0]]}"
        _, peak = refusal(
            lambda data=data: read_reconstruct_request(Body(JSON, data), {}, None, SETTINGS)
        )
        assert peak < MOST * len(data)


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["99999999999", "9" * 400])
def test_a_length_beyond_the_limit_is_refused_before_the_body(
    client: TestClient, length: str
) -> None:
    headers = {"Content-Type": NPY, "Content-Length": length}
    answer = client.post("/reconstruct?config=librosa", content=b"", headers=headers)
    assert answer.status_code == 413


def test_a_json_body_beyond_its_limit_is_refused_though_other_bodies_may_be_larger(
    client: TestClient,
) -> None:
    assert client.app.state.components.settings.max_json_mb == 1  # type: ignore[attr-defined]
    for media, status in ((JSON, 413), (NPY, 400)):
        headers = {"Content-Type": media}
        answer = client.post("/reconstruct", content=b" " * (MB + 1), headers=headers)
        assert answer.status_code == status


def test_a_form_with_a_bomb_is_refused_before_it_is_unpacked(client: TestClient) -> None:
    bomb = npz(np.zeros((80, 10**5), np.float32))
    answer = client.post(
        "/reconstruct", files={"mel": ("mel.npz", bomb)}, data={"config": "hifigan-22k"}
    )
    assert answer.status_code == 413
    many = {f"x{n}": "1" for n in range(100)}
    answer = client.post("/reconstruct", files={"mel": b"x"}, data=many)
    assert answer.status_code == 400
    long = client.post("/reconstruct", files={"mel": b"x"}, data={"config": "x" * (MB + 1)})
    assert long.status_code == 400
