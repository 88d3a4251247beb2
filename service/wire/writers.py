"""Streaming encoders: audio is written before the last sample is known."""

from __future__ import annotations

import io
from typing import Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from unmel.service.wire.formats import (
    FORMATS,
    AudioFormat,
    supported_rate,
    to_fixed,
    wav_header,
    write_samples,
)
from unmel.service.wire.levels import RESAMPLER, peak_warning
from unmel.service.wire.limiter import Bounds, Clipper, Limiter

STREAMED_FORMATS = frozenset({"wav", "wav_f32", "flac", "ogg", "opus", "pcm", "pcm_f32"})
"""Formats of a stream. mp3 is missing: its header has the length and the encoder's delay, which are
known only at the end, and without them it decodes too long or too short.
"""

# Position of the number of samples, 36 bits, in FLAC's STREAMINFO; RFC 9639, section 8.2.
_FLAC_COUNT = slice(21, 26)


class _Encoder(Protocol):
    """Encodes samples `[k]` as they arrive."""

    def begin(self) -> bytes:
        """Bytes before the first sample."""

    def add(self, samples: NDArray[np.float32]) -> bytes:
        """Bytes that are ready after these samples; none while an encoder fills its block."""

    def end(self) -> bytes:
        """Remaining bytes."""


class Writer:
    """Samples `[k]` to bytes: resampled, kept within full scale, encoded.

    Parameters
    ----------
    encoder
        Encodes what comes out of the others.
    resampler
        It delays some milliseconds; None keeps the rate.
    bounds
        A limiter, which delays by its look-ahead, or a clipper; None keeps all samples.

    """

    def __init__(
        self, encoder: _Encoder, resampler: soxr.ResampleStream | None, bounds: Bounds | None
    ) -> None:
        self._encoder, self._resampler, self._bounds = encoder, resampler, bounds

    @property
    def limited(self) -> int:
        """Samples beyond full scale that a limiter turned down."""
        return self._bounds.over if isinstance(self._bounds, Limiter) else 0

    @property
    def clipped(self) -> int:
        """Samples beyond full scale that were clipped."""
        return self._bounds.over if isinstance(self._bounds, Clipper) else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What became of the peak, if it was above full scale."""
        if self._bounds is None or not self._bounds.over:
            return ()
        done = "limited" if self.limited else "clipped"
        return (peak_warning(self._bounds.peak, f"{self._bounds.over} samples {done}"),)

    def begin(self) -> bytes:
        """Bytes before the first sample."""
        return self._encoder.begin()

    def add(self, samples: NDArray[np.float32]) -> bytes:
        """Bytes that are ready after these samples."""
        if self._resampler:
            samples = self._resampler.resample_chunk(samples)
        if self._bounds:
            samples = self._bounds.add(samples)
        return self._encoder.add(samples)

    def end(self) -> bytes:
        """Remaining bytes."""
        rest = np.zeros(0, np.float32)
        if self._resampler:
            rest = self._resampler.resample_chunk(rest, last=True)
        if self._bounds:
            rest = np.concatenate([self._bounds.add(rest), self._bounds.end()])
        return self._encoder.add(rest) + self._encoder.end()


def writer(name: str, sample_rate: int, samples: int | None, peak: str | None = None) -> Writer:
    """Make the writer of a format.

    Parameters
    ----------
    name
        One of `STREAMED_FORMATS`.
    sample_rate
        Rate of the samples, Hz; the writer resamples to a rate that the format supports.
    samples
        Number of samples that will follow; None if it is unknown.
    peak
        `limit` or `clip`; None limits in bounded formats only.

    """
    form, (rate, _) = FORMATS[name], supported_rate(name, sample_rate)
    resampler = None
    if rate != sample_rate:
        resampler = soxr.ResampleStream(sample_rate, rate, 1, dtype="float32", quality=RESAMPLER)
        samples = None
    kind = _Encoded if form.container in ("FLAC", "OGG") else _Raw
    bounds: Bounds | None = None
    if peak == "clip":
        bounds = Clipper()
    elif peak == "limit" or form.bounded:
        bounds = Limiter(rate)
    return Writer(kind(form, rate, samples), resampler, bounds)


class _Raw:
    """Raw samples, after a header for WAV."""

    def __init__(self, form: AudioFormat, sample_rate: int, samples: int | None) -> None:
        self._form, self._rate, self._samples = form, sample_rate, samples

    def begin(self) -> bytes:
        if self._form.container is None:
            return b""
        return wav_header(self._form, self._rate, self._samples)

    def add(self, samples: NDArray[np.float32]) -> bytes:
        if not self._form.fixed_point:
            return samples.astype("<f4").tobytes()
        return to_fixed(samples).tobytes()

    def end(self) -> bytes:
        return b""


class _Sink(io.RawIOBase):
    """Keeps appended bytes until they are taken; rewrites of earlier bytes are ignored."""

    def __init__(self) -> None:
        self._at = self._size = 0
        self._new = bytearray()

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload] # soundfile passes a buffer
        if self._at == self._size:
            self._new += piece
            self._size += len(piece)
        self._at += len(piece)
        return len(piece)

    def take(self) -> bytes:
        piece = bytes(self._new)
        self._new.clear()
        return piece


class _Encoded:
    """FLAC, Vorbis and Opus by libsndfile, whose encoder keeps an unfinished block.

    FLAC has blocks of 4096 samples, and no checksum of the whole in its header; the others have
    Ogg pages, about one per second.
    """

    def __init__(self, form: AudioFormat, sample_rate: int, samples: int | None) -> None:
        self._form, self._samples = form, samples
        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink, "w", sample_rate, 1, form.subtype, format=form.container
        )
        self._begun = False

    def begin(self) -> bytes:
        return b""  # libsndfile writes the header with the first samples

    def add(self, samples: NDArray[np.float32]) -> bytes:
        write_samples(self._file, to_fixed(samples) if self._form.fixed_point else samples)
        return self._taken()

    def end(self) -> bytes:
        self._file.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = bytearray(self._sink.take())
        if data and not self._begun:
            self._begun = True
            if self._form.container == "FLAC" and self._samples is not None:
                # The highest 4 of 36 bits share a byte with the depth.
                count = data[_FLAC_COUNT][0] >> 4 << 36 | self._samples
                data[_FLAC_COUNT] = count.to_bytes(5, "big")
        return bytes(data)
