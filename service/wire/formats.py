"""Audio formats: their sample rates, negotiation by Accept, and encoding of whole clips."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.service.errors import NotAcceptable
from unmel.service.wire.levels import UNCHANGED, LevelOptions, apply_levels
from unmel.service.wire.media import NPY

# Samples per call of a lossy encoder: vorbis copies its whole input onto the stack.
_PIECE = 4096
# Size field of a WAV header for an unknown length, as other programs write it to pipes.
_UNKNOWN = 0xFFFFFFFF


def _any_rate(rate: int) -> int:
    return rate


def _flac_rate(rate: int) -> int:
    """The next rate of FLAC, whose header has 16 bits for Hz or for tens of Hz."""
    return rate if rate < 2**16 else -(-rate // 10) * 10


def _vorbis_rate(rate: int) -> int:
    """The next rate of Vorbis: libvorbis has none above 200 kHz, where libsndfile crashes."""
    return min(rate, 192_000)


def _listed(*rates: int) -> Callable[[int], int]:
    """The lowest listed rate that is not below the wanted one, or the highest."""
    return lambda rate: min((r for r in rates if r >= rate), default=max(rates))


@dataclass(frozen=True)
class AudioFormat:
    """Properties of an audio format."""

    media_type: str
    container: str | None
    """Libsndfile's name of the file format; None for raw samples."""
    subtype: str
    rate_for: Callable[[int], int] = _any_rate
    """Supported rate for a wanted one, Hz."""
    bounded: bool = True
    """Whether samples beyond full scale are clipped."""

    @property
    def fixed_point(self) -> bool:
        return self.subtype in ("PCM_16", "s16le")

    def media_type_at(self, sample_rate: int) -> str:
        """Media type with the parameters that raw samples need.

        Parameters
        ----------
        sample_rate
            Hz.

        """
        if self.container is not None:
            return self.media_type
        return f"{self.media_type}; rate={sample_rate}; channels=1; encoding={self.subtype}"


FORMATS: dict[str, AudioFormat] = {
    "wav": AudioFormat("audio/wav", "WAV", "PCM_16"),
    "wav_f32": AudioFormat("audio/wav", "WAV", "FLOAT", bounded=False),
    "flac": AudioFormat("audio/flac", "FLAC", "PCM_16", _flac_rate),
    "ogg": AudioFormat("audio/ogg; codecs=vorbis", "OGG", "VORBIS", _vorbis_rate),
    "opus": AudioFormat(
        "audio/ogg; codecs=opus", "OGG", "OPUS", _listed(8000, 12_000, 16_000, 24_000, 48_000)
    ),
    "mp3": AudioFormat(
        "audio/mpeg",
        "MP3",
        "MPEG_LAYER_III",
        _listed(8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    ),
    "pcm": AudioFormat("audio/pcm", None, "s16le"),
    "pcm_f32": AudioFormat("audio/pcm", None, "f32le", bounded=False),
}
DEFAULT_FORMAT = "wav"

# --- negotiation ------------------------------------------------------------------------------

# Media types in an Accept header, in the service's own order: the first one serves `audio/*`.
_ACCEPTED = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/ogg": "ogg",
    "audio/ogg;codecs=vorbis": "ogg",
    "audio/vorbis": "ogg",
    "audio/ogg;codecs=opus": "opus",
    "audio/opus": "opus",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/pcm": "pcm",
}


def format_for(accept: str | None, offered: Collection[str] = FORMATS) -> str:
    """Choose a format by the Accept header.

    The highest quality wins, then the most specific range, then the first one.

    Parameters
    ----------
    accept
        Value of the header; None if it is missing.
    offered
        Names of the formats to choose from.

    Raises
    ------
    NotAcceptable
        The header accepts none of them.

    References
    ----------
    RFC 9110, section 12.5.1.

    """
    ranges = [found for part in (accept or "*/*").split(",") if (found := _range(part))]
    if not ranges:
        return DEFAULT_FORMAT
    best, best_rank = None, (0.0, -1, 0)
    names = {media: name for media, name in _ACCEPTED.items() if name in offered}
    for media, name in names.items():
        matches = [
            (_specificity(wanted), -place, quality)
            for place, (wanted, quality) in enumerate(ranges)
            if wanted in ("*/*", "audio/*", media)
        ]
        if not matches:
            continue
        specificity, place, quality = max(matches)  # the most specific range of a type counts
        if quality > 0 and (quality, specificity, place) > best_rank:
            best, best_rank = name, (quality, specificity, place)
    if best is None:
        raise NotAcceptable(
            "Accept", repr((accept or "")[:80]), "audio/*, or one of " + ", ".join(names)
        )
    return best


def _range(part: str) -> tuple[str, float] | None:
    """A media range and its quality; None for an empty one."""
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
        elif name == "codecs":
            media += ";codecs=" + value.strip('"')
    return (media, quality) if media else None


def _specificity(media: str) -> int:
    return 0 if media == "*/*" else 1 if media == "audio/*" else 2 + (";" in media)


# --- encoding ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """An encoded result."""

    data: bytes
    media_type: str
    gain: float = 1.0
    """Factor that was applied to all samples."""
    sample_rate: int = 0
    """Hz; 0 for a result that is not audio."""
    warnings: tuple[str, ...] = ()


def to_fixed(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Convert samples to 16 bits, little-endian; values beyond full scale are clipped."""
    scaled = samples * 32767.0
    np.rint(scaled, out=scaled)
    fixed: NDArray[np.int16] = np.clip(scaled, -32767, 32767, out=scaled).astype("<i2")
    return fixed


def wav_header(form: AudioFormat, sample_rate: int, samples: int | None) -> bytes:
    """Make the bytes of a WAV file before its first sample.

    Parameters
    ----------
    form
        The format of the samples.
    sample_rate
        Hz.
    samples
        Number of samples that will follow; None if it is unknown.

    """
    width = 2 if form.fixed_point else 4
    size = _UNKNOWN if samples is None else samples * width
    # Tag 1 is PCM; 3 is IEEE float, which has an (empty) extension and the number of samples.
    # Where that is unknown there is no such chunk: players believe any number in it.
    fields = struct.pack(
        "<HHIIHH", 1 if width == 2 else 3, 1, sample_rate, sample_rate * width, width, 8 * width
    )
    parts = _chunk(b"fmt ", fields if width == 2 else fields + b"\0\0")
    if width == 4 and samples is not None and samples < _UNKNOWN:
        parts += _chunk(b"fact", struct.pack("<I", samples))
    size = min(size, _UNKNOWN)
    whole = min(4 + len(parts) + 8 + size, _UNKNOWN)
    return b"RIFF" + struct.pack("<I", whole) + b"WAVE" + parts + b"data" + struct.pack("<I", size)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def supported_rate(format_name: str, rate: int) -> tuple[int, tuple[str, ...]]:
    """Find the rate at which a format stores audio.

    Parameters
    ----------
    format_name
        Key of `FORMATS`.
    rate
        Wanted rate, Hz.

    Returns
    -------
    The supported rate, Hz, and a warning if it is another one.

    """
    supported = FORMATS[format_name].rate_for(rate)
    if supported == rate:
        return supported, ()
    return supported, (
        f"resampled from {rate} to {supported} Hz: {format_name} does not support {rate} Hz",
    )


def write_samples(file: soundfile.SoundFile, samples: NDArray[Any]) -> None:
    """Write samples to an encoder, in pieces if it is a lossy one.

    Parameters
    ----------
    file
        Open for writing.
    samples
        `[L]`, floats, or integers in the file's own format.

    """
    piece = len(samples) if file.subtype in ("PCM_16", "FLOAT") else _PIECE
    for start in range(0, len(samples), piece or 1):
        file.write(samples[start : start + piece])


def encode_audio(
    wave: NDArray[np.float32], rate: int, format_name: str, options: LevelOptions = UNCHANGED
) -> Encoded:
    """Encode a clip.

    Parameters
    ----------
    wave
        Samples `[L]`, full scale at 1.
    rate
        Sample rate of `wave`, Hz. If the format does not support it, the clip is resampled to the
        next supported rate, with a warning.
    format_name
        Key of `FORMATS`.
    options
        Processing before the encoding.

    Raises
    ------
    Invalid
        The format does not support the rate in `options`.

    """
    form = FORMATS[format_name]
    wanted = options.sample_rate or rate
    out, warnings = supported_rate(format_name, wanted)
    if out != wanted and options.sample_rate is not None:
        raise Invalid(
            "sample_rate", f"{wanted} for {format_name!r}", f"another rate, such as {out} Hz"
        )
    levelled = apply_levels(wave, rate, replace(options, sample_rate=out), bounded=form.bounded)
    warnings += levelled.warnings
    samples: NDArray[Any] = levelled.samples
    if form.fixed_point:
        samples = to_fixed(levelled.samples)
    # libsndfile gives a WAV of 16 bits the same bytes, by way of calls back into Python.
    plain = form.container == "WAV" and form.fixed_point and 2 * len(samples) < _UNKNOWN - 2**10
    if form.container is None or plain:
        head = wav_header(form, out, len(samples)) if plain else b""
        little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
        data = b"".join((head, np.ascontiguousarray(little).view(np.uint8).data))  # one copy
        return Encoded(data, form.media_type_at(out), levelled.gain, out, warnings)
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", out, 1, format=form.container, subtype=form.subtype
    ) as file:
        write_samples(file, samples)
    return Encoded(stream.getvalue(), form.media_type, levelled.gain, out, warnings)


def encode_npy(values: NDArray[Any]) -> Encoded:
    """Encode an array as npy."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return Encoded(stream.getvalue(), NPY)
