"""Decoders: bytes to mel arrays and audio samples."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydantic_core
import soundfile
import soxr
from numpy.typing import NDArray

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.levels import RESAMPLER
from unmel.service.wire.piped_audio import audio_stream
from unmel.service.wire.problems import brief
from unmel.service.wire.recognise import recognise, unreadable_array, unreadable_audio

BASE64_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in (("float16", "<f2"), ("float32", "<f4"), ("float64", "<f8"))
}

MAX_AXES = 6
"""Axes of a mel in JSON: two, and those of size 1 that a model's batches and channels have."""

# An axis longer than this overflows numpy's own sizes.
_LARGEST_SIZE = 2**31
_CHANNELS = 8
_RATES = (1000, 768_000)
# Decoded samples of all channels allowed per output sample, as for stereo at 96 kHz to 24 kHz.
_DECODED_RATIO = 8
_PIECE = 2**18
# libsndfile's number of samples for a file whose header states none, or nearly.
_UNKNOWN = 2**62

# --- mels -------------------------------------------------------------------------------------


def parse_npy(field: str, data: bytes) -> NDArray[Any]:
    """Read an npy file, without pickle and without trusting its header.

    `np.load` would allocate any shape that the header states before it reads the data.

    Parameters
    ----------
    field
        Field that an error names.
    data
        Output of `np.save`.

    Raises
    ------
    Invalid
        Unreadable for other bytes, Invalid for an array that is not of real numbers.

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
    except Exception as error:  # the header is parsed as Python, which raises a dozen kinds
        want = "the output of np.save, which has the shape that raw numbers lack"
        if data.startswith(b"\x93NUMPY"):
            raise Unreadable(field, "an npy file with a broken header", want) from error
        raise unreadable_array(field, data, want) from error
    shape, fortran, dtype = header
    if not all(type(size) is int and 0 <= size < _LARGEST_SIZE for size in shape):
        raise Unreadable(field, "an npy header with an impossible shape", "the output of np.save")
    if dtype.kind not in "fiu":
        way = "an array of real numbers"
        if dtype.hasobject:
            way += ", one mel in it: mel.astype(np.float32); objects are never unpickled"
        raise Invalid(field, f"an npy file of dtype {dtype}", way)
    start, count = stream.tell(), math.prod(shape)
    if count * dtype.itemsize != len(data) - start:
        raise Unreadable(
            field,
            f"an npy header for {count} x {dtype.itemsize} bytes before {len(data) - start} bytes",
            "as many bytes as the header states",
        )
    values = np.frombuffer(data, dtype, count, start)
    return reshape(field, values, shape, "F" if fortran else "C")


def reshape(
    field: str, values: NDArray[Any], shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> NDArray[Any]:
    """Reshape values.

    Parameters
    ----------
    field
        Field that an error names.
    values
        As many values as the shape has.
    shape
        Sizes of the axes.
    order
        Row-major (`C`) or column-major (`F`).

    Raises
    ------
    Unreadable
        Numpy has no such shape: over 64 axes, or large sizes beside a zero.

    """
    try:
        return values.reshape(shape, order=order)
    except (ValueError, OverflowError):
        raise Unreadable(field, "an impossible shape", "a shape such as [bands, frames]") from None


def widen_bfloat16(values: NDArray[Any]) -> NDArray[np.float32]:
    """Widen the bits `[n]` of bfloat16, the upper half of a float32, given as 16-bit integers."""
    wide = values.astype("<u4")
    wide <<= 16
    return wide.view("<f4")


def parse_json(data: bytes, max_parts: int) -> dict[str, Any]:
    """Parse a JSON object.

    Lists and objects are counted before the parser runs: each takes 20 to 60 times its bytes in
    the text, while a number takes at most ten times.

    Parameters
    ----------
    data
        JSON text.
    max_parts
        Largest number of lists and objects.

    Raises
    ------
    Invalid
        TooLarge for too many parts, Unreadable for other text, Invalid for another value.

    """
    parts = data.count(b"[") + data.count(b"{")
    if parts > max_parts:
        raise TooLarge("body", f"{parts} lists and objects", f"at most {max_parts}")
    try:
        value = pydantic_core.from_json(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        known = recognise(data)
        got = f"JSON that does not parse: {error}"
        if known is not None and known[1] not in ("json", "text"):
            got = f"{known[0]}, sent as JSON"
        raise Unreadable("body", got, "a JSON object") from None
    if not isinstance(value, dict):
        raise Invalid("body", brief(value), "a JSON object")
    return value


def parse_json_array(field: str, value: object) -> NDArray[Any]:
    """Read an array of a JSON body.

    Parameters
    ----------
    field
        Field that an error names.
    value
        Nested lists, or `{"data": base64, "dtype", "shape"}`.

    Raises
    ------
    Invalid
        The value is no array of numbers.

    """
    if isinstance(value, Mapping):
        return _from_base64(field, value)
    want = "a list of bands, each a list of numbers, or {data, dtype, shape} with base64"
    if not isinstance(value, list):
        raise Invalid(field, brief(value), want)
    # Checked first: numpy would allocate the longest string for every cell.
    if not _only_numbers(value):
        raise Invalid(field, f"{brief(value)} that are not all numbers", want)
    try:
        mel = np.array(value)
    except (ValueError, OverflowError):
        raise Invalid(field, "lists of different lengths", want) from None
    if mel.dtype.kind not in "fiu":
        raise Invalid(field, f"{brief(value)} that are not all numbers", want)
    return mel


def _only_numbers(value: list[object], depth: int = MAX_AXES) -> bool:
    """Whether nested lists, at most `depth` deep, hold only numbers."""
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
    data, name, shape = value.get("data"), value.get("dtype"), value.get("shape")
    name = "float32" if name is None else name
    dtype = BASE64_DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise Invalid(f"{field}.dtype", brief(name), "one of " + ", ".join(BASE64_DTYPES))
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= MAX_AXES
        or not all(type(size) is int and 0 <= size < _LARGEST_SIZE for size in shape)
    ):
        raise Invalid(f"{field}.shape", brief(shape), f"a list of one to {MAX_AXES} sizes")
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
    return reshape(field, np.frombuffer(raw, dtype), shape)


# --- audio ------------------------------------------------------------------------------------


def read_audio(
    data: bytes, sample_rate: int, max_samples: int
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Decode an audio file to mono.

    Parameters
    ----------
    data
        Content of the file.
    sample_rate
        Rate of the result, Hz.
    max_samples
        Largest number of samples in the result.

    Returns
    -------
    Samples `[L]` at `sample_rate`, full scale at 1, and warnings about averaged channels and
    resampling.

    Raises
    ------
    Invalid
        Unreadable for other bytes, TooLarge for too many samples, Invalid for an unsupported rate
        or number of channels and for samples that are not finite.

    """
    warnings: list[str] = []
    try:
        with _Forward(audio_stream(data)) as file:
            rate = file.samplerate
            if not _RATES[0] <= rate <= _RATES[1]:
                raise Invalid("audio", f"{rate} Hz", f"{_RATES[0]} to {_RATES[1]} Hz")
            if file.channels > _CHANNELS:
                raise Invalid("audio", f"{file.channels} channels", f"at most {_CHANNELS}")
            limit = _Limit(rate, file.channels, sample_rate, max_samples)
            # Checked before decoding: a small FLAC file can hold hours of silence. A stream of
            # unknown length states the largest one, and libsndfile estimates an mp3's.
            if file.frames < _UNKNOWN and file.format != "MP3":
                limit.check(file.frames, str(file.frames * sample_rate // rate))
            channels, mono = file.channels, _read_mono(file, limit)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise unreadable_audio(data) from error
    if mono.shape[0] == 0:
        raise Invalid("audio", "no samples", "at least one sample")
    if channels > 1:
        warnings.append(f"{channels} channels were averaged")
    if rate != sample_rate:
        warnings.append(f"resampled from {rate} to {sample_rate} Hz")
        mono = soxr.resample(mono, rate, sample_rate, quality=RESAMPLER)
    if not np.isfinite(mono).all():
        raise Invalid("audio", "samples that are not finite", "finite samples")
    return np.ascontiguousarray(mono, dtype=np.float32), tuple(warnings)


class _Forward(soundfile.SoundFile):  # type: ignore[misc] # it has no types
    """A file that is read once, from its beginning: a FLAC of unknown length cannot be sought in.

    soundfile seeks after every read of a file that it takes for seekable.
    """

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class _Limit:
    """Bound of the samples that are decoded."""

    rate: int
    channels: int
    sample_rate: int
    max_samples: int

    def check(self, samples: int, words: str) -> None:
        """Raise TooLarge if `samples` of each channel are too many; `words` says their number."""
        if samples * self.sample_rate // self.rate > self.max_samples:
            raise TooLarge(
                "audio", f"{words} samples at {self.sample_rate} Hz", f"at most {self.max_samples}"
            )
        most = _DECODED_RATIO * self.max_samples
        if samples * self.channels > most:
            raise TooLarge(
                "audio", f"{samples} samples of {self.channels} channels", f"at most {most}"
            )


def _read_mono(file: soundfile.SoundFile, limit: _Limit) -> NDArray[np.float32]:
    """Samples `[L]` of a file up to the limit, channels averaged piece by piece to save memory."""
    pieces, samples = [np.zeros(0, np.float32)], 0
    try:
        while (piece := file.read(_PIECE, dtype="float32", always_2d=True)).shape[0]:
            samples += piece.shape[0]
            limit.check(samples, f"more than {limit.max_samples}")
            pieces.append(piece.mean(axis=1))
    except soundfile.LibsndfileError as error:
        raise Unreadable(
            "audio", f"a file that cannot be decoded after {samples} samples", "a whole file"
        ) from error
    return np.concatenate(pieces)
