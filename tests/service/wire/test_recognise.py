"""Files that are something else: named, with the way out, whatever they are sent as."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import wave
import zipfile
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import soundfile
import torch
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.service.asking import MEL, npy, problem
from tests.signals import voice
from unmel.models.errors import Invalid, Unreadable
from unmel.service.wire.arrays import parse_arrays
from unmel.service.wire.codecs import read_audio
from unmel.service.wire.recognise import recognise

SMALL = np.arange(12, dtype=np.float32).reshape(3, 4)
ANY = "application/octet-stream"


def written(write: Any, *args: Any, **more: Any) -> bytes:
    stream = io.BytesIO()
    write(stream, *args, **more)
    return stream.getvalue()


def sound(form: str) -> bytes:
    return written(soundfile.write, voice(0.2), 22050, format=form)


def wav_of_the_standard_library() -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(100))
    return stream.getvalue()


def archive(**members: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        file.addfile(tarfile.TarInfo("mel.npy"))
    return stream.getvalue()


def torch_file(value: Any, *, zipped: bool = True) -> bytes:
    return written(lambda stream: torch.save(value, stream, _use_new_zipfile_serialization=zipped))


TENSOR = torch.tensor(SMALL)
FILES = [
    ("PyTorch", "np.save", torch_file(TENSOR)),
    ("PyTorch", "safetensors", torch_file({"mel": TENSOR})),
    ("PyTorch", "np.save", torch_file(TENSOR, zipped=False)),
    *[("pickle", "np.save", pickle.dumps(SMALL, protocol)) for protocol in (2, 3, 4, 5)],
    ("wav", "/analyze", sound("WAV")),
    ("wav", "/analyze", wav_of_the_standard_library()),
    ("wav", "/analyze", sound("RF64")),
    ("w64", "/analyze", sound("W64")),
    ("flac", "/analyze", sound("FLAC")),
    ("ogg", "/analyze", sound("OGG")),
    ("mp3", "/analyze", sound("MP3")),
    ("aiff", "/analyze", sound("AIFF")),
    ("caf", "/analyze", sound("CAF")),
    ("au", "/analyze", sound("AU")),
    ("MP4", "/analyze", b"\0\0\0\x20ftypM4A " + bytes(50)),
    ("WebM", "/analyze", b"\x1a\x45\xdf\xa3" + bytes(50)),
    ("PNG", "not a picture", b"\x89PNG\r\n\x1a\n" + bytes(50)),
    ("JPEG", "not a picture", b"\xff\xd8\xff\xe0" + bytes(50)),
    ("gzip", "Content-Encoding", gzip.compress(npy(SMALL))),
    ("bzip2", "unpacked", bz2.compress(npy(SMALL))),
    ("xz", "unpacked", lzma.compress(npy(SMALL))),
    ("tar", "unpacked", tar()),
    ("HDF5", "read out of it", b"\x89HDF\r\n\x1a\n" + bytes(50)),
    ("MATLAB", "read out of it", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(100)),
    ("CSV", "np.loadtxt", written(np.savetxt, SMALL, delimiter=",")),
    ("text", "np.loadtxt", written(np.savetxt, SMALL)),
    ("text", "np.loadtxt", str(SMALL).encode()),
    ("JSON", "application/json", json.dumps(SMALL.tolist()).encode()),
    ("HTML", "np.save", b"<!doctype html><p>404"),
    ("no known format", "np.save", np.full((3, 4), 0.1, np.float32).tobytes()),
    ("empty", "np.save", b""),
]


@pytest.mark.parametrize(
    ("name", "way", "data"),
    [pytest.param(*row, id=f"{row[0]} {place}") for place, row in enumerate(FILES)],
)
@pytest.mark.parametrize("media", [ANY, "application/x-npy", "application/x-npz"])
def test_a_file_that_is_no_array_is_named_with_the_way_out(
    name: str, way: str, data: bytes, media: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_arrays("mel", data, media, 10**6)
    assert name in caught.value.got
    assert way in caught.value.expected


@pytest.mark.parametrize(
    ("media", "data", "name"),
    [
        ("application/x-npy", written(np.savez, mel=SMALL), "npz"),
        ("application/x-npy", safetensors.numpy.save({"mel": SMALL}), "safetensors"),
        ("application/x-npz", npy(SMALL), "npy"),
        ("application/x-npz", safetensors.numpy.save({"mel": SMALL}), "safetensors"),
        ("application/x-safetensors", npy(SMALL), "npy"),
        ("application/x-safetensors", written(np.savez, mel=SMALL), "npz"),
    ],
)
def test_an_array_file_of_another_type_is_told_its_type(media: str, data: bytes, name: str) -> None:
    with pytest.raises(Unreadable, match=f"an {name} file|a {name} file") as caught:
        parse_arrays("mel", data, media, 10**6)
    assert f"application/x-{name}" in caught.value.expected


def test_a_zip_that_is_no_npz_is_told_from_one_that_is() -> None:
    with pytest.raises(Invalid, match=r"a file with 'a\.txt', 'b\.txt'"):
        parse_arrays("mel", archive(**{"a.txt": "x", "b.txt": "y"}), ANY, 10**6)
    with pytest.raises(Unreadable, match="a zip archive that cannot be read"):
        parse_arrays("mel", archive(a="x")[:-8], ANY, 10**6)


@pytest.mark.parametrize(
    ("data", "got", "expected"),
    [
        (npy(SMALL), "an npy file", "POST /reconstruct takes mels"),
        (b"\0\0\0\x20ftypM4A " + bytes(50), "an MP4 file", "ffmpeg"),
        (b"RIFF" + bytes(50), "a wav file that no decoder", "a whole file"),
        (b"\x89PNG" + bytes(50), "a PNG picture", "a wav, flac"),
        (b"", "nothing, an empty body", "a wav, flac"),
        (bytes(50), "50 bytes of no known format", "a wav, flac"),
    ],
)
def test_a_file_that_is_no_audio_is_named_too(data: bytes, got: str, expected: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_audio(data, 22050, 1000)
    assert got in caught.value.got
    assert expected in caught.value.expected


@given(st.binary(max_size=400))
def test_any_bytes_have_a_name_or_none(data: bytes) -> None:
    known = recognise(data)
    assert known is None or all(known)


def test_a_picture_posted_as_a_mel_is_a_400_that_says_so(client: TestClient) -> None:
    form = {"mel": ("mel.png", b"\x89PNG\r\n\x1a\n" + bytes(50))}
    answer = client.post("/reconstruct?config=hifigan-22k", files=form)
    assert problem(answer, 400, "mel")["got"] == "a PNG picture"
    answer = client.post(
        "/reconstruct", content=npy(MEL), headers={"Content-Type": "application/json"}
    )
    assert problem(answer, 400, "body")["got"] == "an npy file, sent as JSON"
    answer = client.post("/reconstruct", content=b"x", headers={"Content-Type": "audio/wav"})
    assert "/analyze" in problem(answer, 415, "Content-Type")["expected"]
    answer = client.post("/analyze?config=hifigan-22k", files={"audio": npy(MEL)})
    assert "/reconstruct" in problem(answer, 400, "audio")["expected"]
