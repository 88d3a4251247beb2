"""Audio from a pipe: whatever its header leaves out, its samples are read, up to the bound."""

from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.service.asking import MEL, NPY, npy, problem
from tests.signals import voice
from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.codecs import read_audio
from unmel.service.wire.piped_audio import audio_stream

RATE = 22050
WAVE = voice(0.5, RATE)
LARGEST = 0xFFFFFFFF


def sound(form: str, wave: np.ndarray = WAVE, subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, RATE, format=form, subtype=subtype)
    return stream.getvalue()


def piped(form: str, place: str, layout: str, sizes: Any, outer: Any = None) -> bytes:
    """A file whose sizes at a place behind the name of a chunk, and outside of it, are others."""
    data = bytearray(sound(form))
    name, _, offset = place.partition("+")
    at = data.index(name.encode()) + len(name) + int(offset or 0)
    struct.pack_into(layout, data, at, *sizes)
    if outer is not None:
        struct.pack_into(outer[0], data, outer[1], outer[2])
    return bytes(data)


def flac_of_unknown_length(wave: np.ndarray = WAVE) -> bytes:
    data = bytearray(sound("FLAC", wave))
    data[21] &= 0xF0  # 36 bits: RFC 9639, section 8.2
    data[22:26] = bytes(4)
    return bytes(data)


FILES = [
    ("flac", flac_of_unknown_length()),
    *[
        (f"wav {size:x} {outer:x}", piped("WAV", "data", "<I", [size], ("<I", 4, outer)))
        for size in (0, 0x7FFFFFFF, 0x7FFFF000, LARGEST)
        for outer in (0, 36, LARGEST)
    ],
    *[
        (f"aiff {size:x}", piped("AIFF", "SSND", ">I", [size], (">I", 4, size)))
        for size in (0, 8, 0x7FFFFFFF, LARGEST)
    ],
    *[(f"au {n:x}", piped("AU", ".snd", ">II", [24, n])) for n in (0, 0x7FFFFFFF, LARGEST)],
    *[(f"caf {n}", piped("CAF", "data", ">q", [n])) for n in (0, -1, 2**40)],
    *[
        (f"w64 {n}", piped("W64", "data+12", "<q", [n], ("<q", 16, n)))
        for n in (0, 24, -1, 2**63 - 1)
    ],
    *[(f"rf64 {n}", piped("RF64", "ds64+4", "<qqq", [n, n, n])) for n in (0, -1, 2**40)],
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in FILES])
def test_a_file_without_its_length_is_read_to_its_end(data: bytes) -> None:
    wave, warnings = read_audio(data, RATE, 100_000)
    np.testing.assert_allclose(wave, WAVE, atol=1e-4)
    assert warnings == ()


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC"])
def test_a_whole_file_is_not_copied_and_an_empty_one_is_not_filled(form: str) -> None:
    assert audio_stream(sound(form)).getvalue() == sound(form)
    if form == "FLAC":  # libsndfile writes nothing at all
        return
    with pytest.raises(Invalid, match="no samples"):
        read_audio(sound(form, WAVE[:0]), RATE, 100)


def test_what_follows_the_samples_of_an_empty_wav_is_no_audio() -> None:
    empty = bytearray(sound("WAV", WAVE[:0])) + b"LIST\x04\x00\x00\x00INFO"
    struct.pack_into("<I", empty, 4, len(empty) - 8)
    with pytest.raises(Invalid, match="no samples"):
        read_audio(bytes(empty), RATE, 100)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_a_file_that_was_cut_is_read_as_far_as_it_goes(form: str) -> None:
    data = sound(form)
    wave, _ = read_audio(data[: len(data) // 2], RATE, 100_000)
    assert len(WAVE) * 0.4 < len(wave) < len(WAVE) * 0.55
    np.testing.assert_allclose(wave, WAVE[: len(wave)], atol=1e-4)


def test_a_flac_that_was_cut_is_unreadable_and_says_where() -> None:
    data = sound("FLAC", np.tile(WAVE, 4))
    with pytest.raises(Unreadable, match=r"after [0-9]+ samples"):
        read_audio(data[: len(data) // 2], RATE, 100_000)


@pytest.mark.parametrize("channels", [1, 8])
def test_hours_of_unknown_length_are_decoded_no_further_than_the_bound(channels: int) -> None:
    bomb = flac_of_unknown_length(np.zeros((3_000_000, channels), np.float32))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(TooLarge, match=r"more than 300000 samples|8 channels"):
        read_audio(bomb, RATE, 300_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25


@pytest.mark.parametrize("size", [0, 1, 7, 8, 2**31, LARGEST])
def test_headers_of_nonsense_are_refused_and_never_walked_for_long(size: int) -> None:
    for magic in (b"RIFF", b"RF64", b"FORM", b"caff", b"riff", b".snd"):
        with pytest.raises(Invalid):
            read_audio(magic + struct.pack("<I", size) * 100_000, RATE, 1000)


def test_what_the_service_streams_it_also_analyzes(client: TestClient) -> None:
    def ask(mel: np.ndarray, name: str) -> Any:
        return client.post(
            f"/reconstruct?config=hifigan-22k&stream=true&format={name}",
            content=npy(mel),
            headers=NPY,
        )

    for name in ("wav", "wav_f32", "flac", "ogg"):
        audio = ask(MEL, name).content
        answer = client.post("/analyze", data={"config": "hifigan-22k"}, files={"audio": audio})
        assert answer.status_code == 200, answer.text
        assert np.load(io.BytesIO(answer.content)).shape == MEL.shape
    silence = flac_of_unknown_length(np.zeros(2001 * 256, np.float32))
    form = {"config": "hifigan-22k"}
    problem(client.post("/analyze", data=form, files={"audio": silence}), 413, "audio")
