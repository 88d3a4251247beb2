"""Packed bodies: read like others, in small pieces, and never past a limit."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi import Request
from fastapi.testclient import TestClient

from tests.service.asking import MEL, NPY, npy, post, problem
from tests.signals import voice
from unmel.models.errors import TooLarge, Unreadable
from unmel.service.errors import UnsupportedMedia
from unmel.service.ops.limits import MemoryBudget
from unmel.service.ops.settings import Settings
from unmel.service.wire.bodies import read_body
from unmel.service.wire.unpacking import unpacked_body

MB = 2**20
DATA = np.random.default_rng(0).integers(0, 50, 300_000, np.uint8).tobytes() + bytes(300_000)


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def members(data: bytes) -> bytes:
    """Gzip of several members, an empty one among them, and padding."""
    cut = len(data) // 3
    return b"".join(map(gzip.compress, (data[:cut], b"", data[cut:]))) + bytes(100)


PACKED = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("gzip, identity", gzip.compress),
    ("gzip", members),
    ("deflate", zlib.compress),
    ("deflate", bare),
    ("identity", bytes),
    ("", bytes),
]


def request(coding: str, data: bytes, size: int, media: str = "application/x-npy") -> Request:
    """A request whose body arrives in chunks."""
    chunks = [data[n : n + size] for n in range(0, len(data), size)] or [b""]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    head = [(b"content-encoding", coding.encode()), (b"content-type", media.encode())]
    return Request({"type": "http", "method": "POST", "headers": head}, receive)


def unpack(coding: str, data: bytes, size: int = 4096) -> list[bytes]:
    async def run() -> list[bytes]:
        return [piece async for piece in unpacked_body(request(coding, data, size))]

    return asyncio.run(run())


@pytest.mark.parametrize(("coding", "pack"), PACKED)
@pytest.mark.parametrize("size", [1000, 10**9])
def test_what_was_packed_comes_out_however_it_is_cut(coding: str, pack: Any, size: int) -> None:
    assert b"".join(unpack(coding, pack(DATA), size)) == DATA
    assert b"".join(unpack(coding, pack(DATA[:9]), 1)) == DATA[:9]
    assert b"".join(unpack(coding, b"")) == b""


def test_pieces_are_small_however_much_is_in_a_chunk() -> None:
    pieces = unpack("gzip", gzip.compress(bytes(5 * MB)), 10**9)
    assert sum(map(len, pieces)) == 5 * MB
    assert max(map(len, pieces)) <= 2**16


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", DATA),
        ("gzip", gzip.compress(DATA)[:-1]),
        ("gzip", gzip.compress(DATA)[: len(DATA) // 4]),
        ("gzip", gzip.compress(DATA)[:1]),
        ("gzip", gzip.compress(DATA) + b"rubbish"),
        ("gzip", gzip.compress(DATA)[:-8] + bytes(8)),
        ("gzip", zlib.compress(DATA)),
        ("deflate", zlib.compress(DATA)[:-1]),
        ("deflate", zlib.compress(DATA) + b"rubbish"),
        ("deflate", gzip.compress(DATA)),
        ("deflate", bare(DATA)[:-3]),
        ("deflate", b"x"),
    ],
)
def test_what_is_broken_is_unreadable(coding: str, data: bytes) -> None:
    with pytest.raises(Unreadable, match="body: got"):
        unpack(coding, data)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "deflate, gzip", "compress", "*"])
def test_another_coding_is_refused_with_those_that_are_read(
    client: TestClient, coding: str
) -> None:
    with pytest.raises(UnsupportedMedia):
        unpack(coding, b"")
    answer = post_packed(client, coding, b"x")
    problem(answer, 415, "Content-Encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    frames = {"Content-Type": "application/x-f32le", "Content-Encoding": coding}
    path = "/reconstruct?config=hifigan-22k&stream=true"
    assert client.post(path, content=b"", headers=frames).status_code == 415
    v2 = client.post("/v2/models/hifigan-22k/infer", content=b"x", headers=frames)
    assert (v2.status_code, v2.headers["accept-encoding"]) == (415, "gzip, deflate")


@pytest.mark.parametrize("media", ["application/x-npy", "application/json"])
@pytest.mark.parametrize("pack", [gzip.compress, lambda data: 300 * gzip.compress(data[: MB // 2])])
def test_a_bomb_is_refused_at_the_limit_and_not_unpacked_further(media: str, pack: Any) -> None:
    bomb = pack(bytes(100 * MB))
    settings = Settings(max_body_mb=2, max_json_mb=1)
    tracemalloc.start()
    with MemoryBudget(100 * MB).reserve() as reservation, pytest.raises(TooLarge):
        asyncio.run(read_body(request("gzip", bomb, MB, media), settings, reservation))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * MB


# --- over HTTP ----------------------------------------------------------------------------------


def post_packed(client: TestClient, coding: str, body: bytes, media: str = "", **more: Any) -> Any:
    headers = {"Content-Type": media or NPY["Content-Type"], "Content-Encoding": coding}
    params = {"config": "hifigan-22k", "n_iter": 4, **more}
    return client.post("/reconstruct", params=params, content=body, headers=headers)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_every_kind_of_body_may_be_packed(client: TestClient, coding: str, pack: Any) -> None:
    want = post(client).content
    assert post_packed(client, coding, pack(npy(MEL))).content == want
    text = json.dumps({"mel": MEL.tolist()}).encode()
    assert post_packed(client, coding, pack(text), "application/json").content == want
    form = client.build_request("POST", "/reconstruct", files={"mel": npy(MEL)})
    packed = post_packed(client, coding, pack(form.read()), form.headers["content-type"])
    assert packed.content == want
    assert coding in problem(post_packed(client, coding, npy(MEL)), 400, "body")["got"]
    problem(post_packed(client, coding, pack(bytes(3 * MB))), 413, "body")


def test_frames_of_a_stream_may_be_packed(client: TestClient) -> None:
    def ask(body: Any, **headers: str) -> Any:
        return client.post(
            "/reconstruct?config=hifigan-22k&stream=true&format=pcm",
            content=body,
            headers={"Content-Type": "application/x-f32le", **headers},
        )

    frames = np.ascontiguousarray(MEL.T).tobytes()
    packed = gzip.compress(frames)
    want = ask(frames)
    assert want.status_code == 200
    assert ask(packed, **{"Content-Encoding": "gzip"}).content == want.content
    assert ask(iter([packed[:999], packed[999:]]), **{"Content-Encoding": "gzip"}).content == (
        want.content
    )
    problem(ask(packed[:200], **{"Content-Encoding": "gzip"}), 400, "body")


def test_audio_to_analyze_may_be_packed(client: TestClient) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, voice(0.5), 22050, format="WAV")
    headers = {"Content-Type": "audio/wav"}
    path = "/analyze?config=hifigan-22k"
    want = client.post(path, content=stream.getvalue(), headers=headers)
    assert want.status_code == 200
    headers["Content-Encoding"] = "gzip"
    packed = gzip.compress(stream.getvalue())
    assert client.post(path, content=packed, headers=headers).content == want.content
