"""Samples to bytes: the audio formats, the rates that they hold, and how one is agreed on."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.service.errors import NotAcceptable
from unmel.service.wire.codecs import NPY
from unmel.service.wire.loudness import loudness

# Samples handed to a lossy encoder at once: vorbis takes what it is given onto the stack.
_PIECE = 4096
RESAMPLER = "VHQ"
"""soxr's quality."""


def _any_rate(rate: int) -> int:
    return rate


def _flac_rate(rate: int) -> int:
    """Its header has 16 bits for Hz, or for tens of Hz."""
    return rate if rate < 2**16 else -(-rate // 10) * 10


def _vorbis_rate(rate: int) -> int:
    """Libvorbis has no mode above 200 kHz, and libsndfile falls over when it is asked for one."""
    return min(rate, 192_000)


def _listed(*rates: int) -> Callable[[int], int]:
    """The least of the rates that is not below the wanted one, or the highest."""
    return lambda rate: min((r for r in rates if r >= rate), default=max(rates))


@dataclass(frozen=True)
class AudioFormat:
    """One way to write audio."""

    media_type: str
    container: str | None
    """libsndfile's name of the file format; None for bare samples."""
    subtype: str
    rate_for: Callable[[int], int] = _any_rate
    """The rate it can hold that serves a wanted one."""
    bounded: bool = True
    """Samples beyond full scale are lost."""

    @property
    def fixed_point(self) -> bool:
        return self.subtype in ("PCM_16", "s16le")

    def media_type_at(self, sample_rate: int) -> str:
        """The media type of audio at a rate, Hz: bare samples do not tell it themselves."""
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

# --- which one --------------------------------------------------------------------------------

# What an Accept header may call a format, by our own preference: the first serves `audio/*`.
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
    """The format that an Accept header (RFC 9110, 12.5.1) prefers; NotAcceptable if none will do.

    The highest quality wins, then the range that says most, then what is named first.
    """
    ranges = [found for part in (accept or "*/*").split(",") if (found := _range(part))]
    if not ranges:
        return DEFAULT_FORMAT
    best, best_rank = None, (0.0, -1, 0)
    names = {media: name for media, name in _ACCEPTED.items() if name in offered}
    for media, name in names.items():
        matches = [
            (_says(wanted), -place, quality)
            for place, (wanted, quality) in enumerate(ranges)
            if wanted in ("*/*", "audio/*", media)
        ]
        if not matches:
            continue
        says, place, quality = max(matches)  # of one media type the range that says most counts
        if quality > 0 and (quality, says, place) > best_rank:
            best, best_rank = name, (quality, says, place)
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


def _says(media: str) -> int:
    return 0 if media == "*/*" else 1 if media == "audio/*" else 2 + (";" in media)


# --- levels and rate --------------------------------------------------------------------------


@dataclass(frozen=True)
class Finish:
    """What is done to samples before they are written."""

    normalize: str = "none"
    gain: float = 0.0
    """dB."""
    sample_rate: int | None = None
    """Hz; as the config has it if None."""


AS_IT_IS = Finish()


@dataclass(frozen=True, eq=False)
class Finished:
    """Samples `[L]` as they are to be written."""

    samples: NDArray[np.float32]
    sample_rate: int
    gain: float
    """What they were multiplied by."""


PEAK_LEVEL = -1.0
"""dB of full scale that `peak` brings the loudest sample to."""
LOUDNESS_LEVEL = -23.0
"""LUFS that `loudness` brings a clip to: EBU R 128's programme level."""


def finish(wave: NDArray[np.float32], rate: int, how: Finish, *, bounded: bool) -> Finished:
    """Resample, normalise, add the gain; scale what would overflow to fit, where `bounded`.

    Silence is never scaled. For a `bounded` form the whole clip is scaled when its peak would
    pass full scale, whatever asked for it; others keep what was asked for.
    """
    out = how.sample_rate or rate
    if out != rate:
        resampled = soxr.resample(wave, rate, out, quality=RESAMPLER)
        wave = np.asarray(resampled if resampled.size else wave[:1], np.float32)
    peak = float(np.abs(wave).max(initial=0.0))
    if peak == 0.0:
        return Finished(wave, out, 1.0)
    decibels = how.gain
    if how.normalize == "peak":
        decibels += PEAK_LEVEL - 20.0 * float(np.log10(peak))
    elif how.normalize == "loudness":
        level = loudness(wave, out)
        decibels += LOUDNESS_LEVEL - level if np.isfinite(level) else 0.0
    gain = float(10.0 ** (decibels / 20.0)) if decibels else 1.0
    if bounded and gain * peak > 1.0:
        gain = 1.0 / peak
    if gain != 1.0:  # in double precision: what is next to silence may need more than 1e38
        wave = (wave.astype(np.float64) * gain).astype(np.float32)
    return Finished(wave, out, gain)


# --- writing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """Bytes for a client."""

    data: bytes
    media_type: str
    gain: float = 1.0
    """What the samples were multiplied by before they were written."""
    sample_rate: int = 0
    """Hz, of audio."""
    warnings: tuple[str, ...] = ()


def to_fixed(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples of 16 bits, little-endian; what is beyond full scale is cut off."""
    fixed: NDArray[np.int16] = np.clip(np.rint(samples * 32767.0), -32767, 32767).astype("<i2")
    return fixed


def held_rate(format_name: str, rate: int) -> tuple[int, tuple[str, ...]]:
    """The rate, Hz, at which a format takes audio of `rate`, and what to say if it is another."""
    held = FORMATS[format_name].rate_for(rate)
    if held == rate:
        return held, ()
    return held, (f"resampled from {rate} to {held} Hz: {format_name} has no {rate} Hz",)


def write_samples(file: soundfile.SoundFile, samples: NDArray[Any]) -> None:
    """Hand samples `[L]` to an encoder; those of fixed point are as they will lie in the file."""
    piece = len(samples) if samples.dtype.kind == "i" else _PIECE
    for start in range(0, len(samples), piece or 1):
        file.write(samples[start : start + piece])


def encode_audio(
    wave: NDArray[np.float32], rate: int, format_name: str, how: Finish = AS_IT_IS
) -> Encoded:
    """Samples `[L]` at `rate` as a file or as bare samples, finished as is asked for.

    A rate that the format does not hold is refused if it was asked for; if it is the config's,
    the clip is resampled to the next that it does hold, and the answer says so.
    """
    form = FORMATS[format_name]
    wanted = how.sample_rate or rate
    held, warnings = held_rate(format_name, wanted)
    if held != wanted and how.sample_rate is not None:
        raise Invalid("sample_rate", f"{wanted} for {format_name!r}", f"{held} Hz, say")
    done = finish(wave, rate, Finish(how.normalize, how.gain, held), bounded=form.bounded)
    samples: NDArray[Any] = done.samples
    if form.fixed_point:
        samples = to_fixed(done.samples)
    if form.container is None:
        data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
        return Encoded(data, form.media_type_at(held), done.gain, held, warnings)
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", held, 1, format=form.container, subtype=form.subtype
    ) as file:
        write_samples(file, samples)
    return Encoded(stream.getvalue(), form.media_type, done.gain, held, warnings)


def encode_npy(values: NDArray[Any]) -> Encoded:
    """The bytes of `np.save`."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return Encoded(stream.getvalue(), NPY)
