"""Bytes to mel and audio samples: what comes in, with nothing of HTTP but its media types."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pydantic_core
import soundfile
import soxr
from numpy.typing import NDArray

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.problems import brief

NPY = "application/x-npy"
NPY_TYPES = frozenset({NPY, "application/npy", "application/octet-stream"})

BASE64_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in (("float16", "<f2"), ("float32", "<f4"), ("float64", "<f8"))
}


# An axis longer than this overflows numpy's own sizes.
_LARGEST_SIZE = 2**31
_CHANNELS = 8
_RATES = (1000, 768_000)
# Samples of all channels that may be decoded for one that is wanted: stereo at 96 kHz for 24.
_MOST_DECODED = 8
_PIECE = 2**18

# --- mel in -----------------------------------------------------------------------------------


def parse_npy(field: str, data: bytes) -> NDArray[Any]:
    """The array in the bytes of `np.save`, without unpickling and without trusting the header.

    `np.load` would allocate whatever shape the header claims before it looks for the data.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        # Version 3 differs from 2 only in the header's encoding, which is ASCII for plain dtypes.
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(stream)
        elif version in ((2, 0), (3, 0)):
            header = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"npy version {version}")
    except Exception as error:  # the header is parsed as Python: any of a dozen kinds
        raise Unreadable(
            field, f"{len(data)} bytes that are no npy file", "the bytes of np.save"
        ) from error
    shape, fortran, dtype = header
    if not all(type(size) is int and 0 <= size < _LARGEST_SIZE for size in shape):
        raise Unreadable(field, "an npy header of an impossible shape", "the bytes of np.save")
    if dtype.kind not in "fiu":
        raise Invalid(field, f"an npy file of {dtype}", "an array of real numbers")
    start, count = stream.tell(), math.prod(shape)
    if count * dtype.itemsize != len(data) - start:
        raise Unreadable(
            field,
            f"an npy header of {count} x {dtype.itemsize} bytes before {len(data) - start} bytes",
            "as many bytes as the header says",
        )
    values = np.frombuffer(data, dtype, count, start)
    return shaped(field, values, shape, "F" if fortran else "C")


def shaped(
    field: str, values: NDArray[Any], shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """As many values as the shape has; Unreadable where numpy has no such shape: beyond 64 axes,
    or where sizes beside a zero are too large together.
    """
    try:
        return values.reshape(shape, order=order)
    except (ValueError, OverflowError):
        raise Unreadable(field, "an impossible shape", "a shape such as [bands, frames]") from None


def parse_json(data: bytes, max_parts: int) -> dict[str, Any]:
    """The object in a JSON body; TooLarge if it holds more lists and objects than `max_parts`.

    They are counted before anything is parsed: each takes 20 to 60 times the bytes that it is
    written in, while numbers take ten times theirs at most.
    """
    parts = data.count(b"[") + data.count(b"{")
    if parts > max_parts:
        raise TooLarge("body", f"{parts} lists and objects", f"at most {max_parts}")
    try:
        value = pydantic_core.from_json(data)
    except ValueError as error:
        raise Unreadable("body", f"JSON that does not parse: {error}", "a JSON object") from None
    if not isinstance(value, dict):
        raise Invalid("body", brief(value), "a JSON object")
    return value


def parse_json_array(field: str, value: object) -> NDArray[Any]:
    """An array in a JSON body: nested lists, or `{"data": base64, "dtype", "shape"}`."""
    if isinstance(value, Mapping):
        return _from_base64(field, value)
    want = "a list of bands, each a list of numbers, or {data, dtype, shape} with base64"
    if not isinstance(value, list):
        raise Invalid(field, brief(value), want)
    # Looked at first: numpy makes room for the longest string in every cell.
    if not _only_numbers(value):
        raise Invalid(field, f"{brief(value)} that are not all numbers", want)
    try:
        mel = np.array(value)
    except (ValueError, OverflowError):
        raise Invalid(field, "lists of different lengths", want) from None
    if mel.dtype.kind not in "fiu":
        raise Invalid(field, f"{brief(value)} that are not all numbers", want)
    return mel


def _only_numbers(value: list[object], depth: int = 3) -> bool:
    """Whether nested lists, at most `depth` deep, hold numbers alone."""
    kinds = {type(item) for item in value}
    if kinds <= {int, float}:
        return True
    return (
        depth > 1
        and kinds == {list}
        and all(_only_numbers(item, depth - 1) for item in value if isinstance(item, list))
    )


def _from_base64(field: str, value: Mapping[str, object]) -> NDArray[Any]:
    unknown = set(value) - {"data", "dtype", "shape"}
    if unknown:
        raise Invalid(field, f"a member {sorted(unknown)[0]!r}", "data, dtype and shape")
    data, name, shape = value.get("data"), value.get("dtype", "float32"), value.get("shape")
    dtype = BASE64_DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise Invalid(f"{field}.dtype", brief(name), "one of " + ", ".join(BASE64_DTYPES))
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 3
        or not all(type(size) is int and 0 <= size < _LARGEST_SIZE for size in shape)
    ):
        raise Invalid(f"{field}.shape", brief(shape), "a list of one to three sizes")
    if not isinstance(data, str):
        raise Invalid(f"{field}.data", brief(data), "a base64 string")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(
            f"{field}.data", "a string that is not base64", "base64 (RFC 4648)"
        ) from None
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise Invalid(
            f"{field}.data",
            f"{len(raw)} bytes",
            f"{math.prod(shape) * dtype.itemsize} bytes for shape {shape} of {name}",
        )
    return shaped(field, np.frombuffer(raw, dtype), shape)


# --- audio in ---------------------------------------------------------------------------------


def read_audio(
    data: bytes, sample_rate: int, max_samples: int
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Mono samples `[L]` at `sample_rate` of an audio file's bytes, and what was done to them."""
    warnings: list[str] = []
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            if not _RATES[0] <= rate <= _RATES[1]:
                raise Invalid("audio", f"{rate} Hz", f"{_RATES[0]} to {_RATES[1]} Hz")
            if file.channels > _CHANNELS:
                raise Invalid("audio", f"{file.channels} channels", f"at most {_CHANNELS}")
            # Judged before anything is decoded: a small FLAC can hold hours of silence.
            samples = file.frames * sample_rate // rate
            if samples > max_samples:
                raise TooLarge(
                    "audio", f"{samples} samples at {sample_rate} Hz", f"at most {max_samples}"
                )
            most = _MOST_DECODED * max_samples
            if file.frames * file.channels > most:
                raise TooLarge(
                    "audio", f"{file.frames} samples of {file.channels} channels", f"at most {most}"
                )
            channels, mono = file.channels, _read_mono(file)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise Unreadable(
            "audio",
            f"{len(data)} bytes that no decoder reads",
            "a wav, flac, ogg, opus or mp3 file",
        ) from error
    if mono.shape[0] == 0:
        raise Invalid("audio", "no samples", "at least one sample")
    if channels > 1:
        warnings.append(f"{channels} channels were averaged")
    if rate != sample_rate:
        warnings.append(f"resampled from {rate} to {sample_rate} Hz")
        mono = soxr.resample(mono, rate, sample_rate, quality="VHQ")
    if not np.isfinite(mono).all():
        raise Invalid("audio", "samples that are not finite", "finite samples")
    return np.ascontiguousarray(mono, dtype=np.float32), tuple(warnings)


def _read_mono(file: soundfile.SoundFile) -> NDArray[np.float32]:
    """A file's samples `[L]`, its channels averaged; piece by piece, so that they take no room."""
    pieces = [np.zeros(0, np.float32)]
    while (piece := file.read(_PIECE, dtype="float32", always_2d=True)).shape[0]:
        pieces.append(piece.mean(axis=1))
    return np.concatenate(pieces)
