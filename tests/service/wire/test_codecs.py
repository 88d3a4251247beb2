"""Codecs: what goes out comes back, and lying bytes are refused cheaply."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.signals import voice
from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.codecs import (
    parse_json,
    parse_json_array,
    parse_npy,
    read_audio,
)


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), version=version)
    return stream.getvalue()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    data = text.encode("latin1")
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(data))
    return b"\x93NUMPY" + version + size + data


HUGE = 2**31 - 1
MEL = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i2", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_plain_kind_is_read(version: tuple[int, int], dtype: str, order: Any) -> None:
    array = np.array(MEL, dtype=dtype, order=order)
    np.testing.assert_array_equal(parse_npy("mel", saved(array, version)), array)


def test_npy_version_3_is_read() -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n"
    np.testing.assert_array_equal(parse_npy("mel", header(text, b"\x03\x00") + MEL.tobytes()), MEL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"RIFF....WAVE",
        b"\x93NUMPY\x09\x00aaaaaaaa",
        header("{'descr': '<f4'}"),
        header("not a header"),
        header("(" * 9000),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 80), }\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4), }\n") + MEL.tobytes(),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1" + "0" * 30 + "), }\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 12), }\n") + MEL.tobytes(),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }\n") + MEL.tobytes(),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }\n") + MEL.tobytes(),
        header(str({"descr": "<f4", "fortran_order": False, "shape": (0, HUGE, HUGE)})),
        header(str({"descr": "<u1", "fortran_order": False, "shape": (1,) * 65})) + b"x",
        saved(MEL)[:-1],
        saved(MEL) + b"x",
    ],
)
def test_npy_bytes_that_lie_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_npy("mel", data)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n",
    ],
)
def test_npy_of_objects_and_other_kinds_is_refused_and_never_unpickled(text: str) -> None:
    with pytest.raises(Invalid, match="real numbers"):
        parse_npy("mel", header(text) + b"cos\nsystem\n")


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), good=st.booleans())
def test_random_bytes_never_raise_anything_but_a_refusal(data: bytes, good: bool) -> None:
    for parse in (
        lambda d: parse_npy("mel", d),
        lambda d: parse_json(d, 1000),
        lambda d: read_audio(d, 22050, 1000),
    ):
        with contextlib.suppress(Invalid):
            parse(saved(MEL)[:20] + data if good else data)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_base64_mel_round_trip(name: str) -> None:
    array = MEL.astype(name)
    value = {"data": base64.b64encode(array.tobytes()).decode(), "dtype": name, "shape": [3, 4]}
    np.testing.assert_array_equal(parse_json_array("mel", value), array)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"data": "AAAA", "shape": [1, 1]}, "mel.data"),
        ({"data": "!!!!", "shape": [1]}, "mel.data"),
        ({"data": 3, "shape": [1]}, "mel.data"),
        ({"data": "", "dtype": "int8", "shape": [1]}, "mel.dtype"),
        ({"data": "", "dtype": ["x"], "shape": [1]}, "mel.dtype"),
        ({"data": "", "shape": [-1]}, "mel.shape"),
        ({"data": "", "shape": "3"}, "mel.shape"),
        ({"data": "", "shape": [0, HUGE, HUGE]}, "mel"),
        ({"data": "", "shape": [True]}, "mel.shape"),
        ({"data": ""}, "mel.shape"),
        ({"data": "", "shape": [0, 10**30]}, "mel.shape"),
        ([["a" * 1000] + [""] * 1000], "mel"),
        ([[[[[[[1.0]]]]]]], "mel"),
        ({"data": "", "shape": [0] * 7}, "mel.shape"),
        ([1.0, [2.0]], "mel"),
        ({"data": "", "shape": [0], "extra": 1}, "mel"),
        ([[1, 2], [3]], "mel"),
        ([["1", "2"]], "mel"),
        ([[None]], "mel"),
        ([[True]], "mel"),
        ([[10**400]], "mel"),
        ("abc", "mel"),
        (3, "mel"),
        (None, "mel"),
    ],
)
def test_a_json_mel_that_is_none_names_its_field(value: object, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_json_array("mel", value)
    assert caught.value.field == field


def test_a_json_mel_may_have_axes_of_size_one() -> None:
    data = base64.b64encode(MEL.tobytes()).decode()
    for shape in ([1, 1, 3, 4], [1, 1, 1, 1, 3, 4], [3, 4, 1], [1, 3, 4, 1]):
        want = MEL.reshape(shape)
        np.testing.assert_array_equal(parse_json_array("mel", want.tolist()), want)
        np.testing.assert_array_equal(parse_json_array("mel", {"data": data, "shape": shape}), want)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} x'])
def test_json_that_does_not_parse_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_json(data, 10**6)


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(Invalid, match="a list of 2"):
        parse_json(json.dumps([1, 2]).encode(), 9)


# --- audio ------------------------------------------------------------------------------------

WAVE = voice(0.2)


def sound(wave: np.ndarray, rate: int, form: str = "WAV") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form)
    return stream.getvalue()


def test_audio_is_averaged_and_resampled_with_a_word_about_it() -> None:
    stereo = np.stack([voice(0.5, 44100), voice(0.5, 44100)], axis=1)
    wave, warnings = read_audio(sound(stereo, 44100), 22050, 100_000)
    assert wave.shape == (11025,)
    assert warnings == ("2 channels were averaged", "resampled from 44100 to 22050 Hz")
    assert np.corrcoef(wave[500:-500], voice(0.5, 44100)[::2][500:-500])[0, 1] > 0.99


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_audio_files_are_read(form: str) -> None:
    wave, warnings = read_audio(sound(WAVE, 22050, form), 22050, 100_000)
    assert wave.shape == WAVE.shape
    assert warnings == ()


def test_a_small_file_of_many_samples_is_refused_before_it_is_decoded() -> None:
    bomb = sound(np.zeros(2_000_000, np.float32), 22050, "FLAC")
    assert len(bomb) < 50_000
    with pytest.raises(TooLarge, match="2000000 samples"):
        read_audio(bomb, 22050, 10_000)


@pytest.mark.parametrize("rate", [1, 2_000_000])
def test_a_rate_that_no_audio_has_is_refused_before_resampling(rate: int) -> None:
    with pytest.raises(Invalid, match=f"{rate} Hz"):
        read_audio(sound(WAVE, rate), 22050, 10**9)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not audio" * 100])
def test_bytes_that_are_no_audio_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_audio(data, 22050, 10_000)


def test_audio_without_samples_is_refused() -> None:
    with pytest.raises(Invalid, match="no samples"):
        read_audio(sound(np.zeros(0, np.float32), 22050), 22050, 10_000)
