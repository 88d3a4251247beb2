"""Streaming encoders: audio is written before the last sample is known."""

from __future__ import annotations

import io
import struct
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
    write_samples,
)
from unmel.service.wire.levels import RESAMPLER

STREAMED_FORMATS = frozenset({"wav", "wav_f32", "flac", "ogg", "opus", "pcm", "pcm_f32"})
"""Formats of a stream. mp3 is missing: its header has the length and the encoder's delay, which are
known only at the end, and without them it decodes too long or too short.
"""

# Size field of a WAV header for an unknown length, as other programs write it to pipes.
_UNKNOWN = 0xFFFFFFFF
# Position of the number of samples, 36 bits, in FLAC's STREAMINFO; RFC 9639, section 8.2.
_FLAC_COUNT = slice(21, 26)


class Writer(Protocol):
    """Encodes samples `[k]` as they arrive."""

    @property
    def clipped(self) -> int:
        """Samples beyond full scale that were clipped: the peak is unknown when they are sent."""

    def begin(self) -> bytes:
        """Bytes before the first sample."""

    def add(self, samples: NDArray[np.float32]) -> bytes:
        """Bytes that are ready after these samples; none while an encoder fills its block."""

    def end(self) -> bytes:
        """Remaining bytes."""


def writer(name: str, sample_rate: int, samples: int | None) -> Writer:
    """Make the writer of a format.

    Parameters
    ----------
    name
        One of `STREAMED_FORMATS`.
    sample_rate
        Rate of the samples, Hz; the writer resamples to a rate that the format supports.
    samples
        Number of samples that will follow; None if it is unknown.

    """
    form, (rate, _) = FORMATS[name], supported_rate(name, sample_rate)
    if rate != sample_rate:
        return _Resampled(_Encoded(form, rate, None), sample_rate, rate)
    if form.container in ("FLAC", "OGG"):
        return _Encoded(form, rate, samples)
    return _Raw(form, rate, samples)


class _Raw:
    """Raw samples, after a header for WAV."""

    def __init__(self, form: AudioFormat, sample_rate: int, samples: int | None) -> None:
        self.clipped, self._form = 0, form
        self._rate, self._samples = sample_rate, samples

    def begin(self) -> bytes:
        if self._form.container is None:
            return b""
        width = 2 if self._form.fixed_point else 4
        size = _UNKNOWN if self._samples is None else self._samples * width
        # Tag 1 is PCM; 3 is IEEE float, which has an (empty) extension and the number of samples.
        form = struct.pack(
            "<HHIIHH", 1 if width == 2 else 3, 1, self._rate, self._rate * width, width, 8 * width
        )
        count = min(_UNKNOWN if self._samples is None else self._samples, _UNKNOWN)
        parts = (
            _chunk(b"fmt ", form)
            if width == 2
            else (_chunk(b"fmt ", form + b"\0\0") + _chunk(b"fact", struct.pack("<I", count)))
        )
        size = min(size, _UNKNOWN)
        whole = min(4 + len(parts) + 8 + size, _UNKNOWN)
        return (
            b"RIFF" + struct.pack("<I", whole) + b"WAVE" + parts + b"data" + struct.pack("<I", size)
        )

    def add(self, samples: NDArray[np.float32]) -> bytes:
        if not self._form.fixed_point:
            return samples.astype("<f4").tobytes()
        self.clipped += _count_clipped(samples)
        return to_fixed(samples).tobytes()

    def end(self) -> bytes:
        return b""


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def _count_clipped(samples: NDArray[np.float32]) -> int:
    return int((np.abs(samples) > 1.0).sum())


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
        self.clipped, self._form, self._samples = 0, form, samples
        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink, "w", sample_rate, 1, form.subtype, format=form.container
        )
        self._begun = False

    def begin(self) -> bytes:
        return b""  # libsndfile writes the header with the first samples

    def add(self, samples: NDArray[np.float32]) -> bytes:
        self.clipped += _count_clipped(samples)
        bounded = to_fixed(samples) if self._form.fixed_point else np.clip(samples, -1.0, 1.0)
        write_samples(self._file, bounded)
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


class _Resampled:
    """Another writer after a resampler, which delays some milliseconds."""

    def __init__(self, inner: Writer, rate: int, out: int) -> None:
        self._inner = inner
        self._soxr = soxr.ResampleStream(rate, out, 1, dtype="float32", quality=RESAMPLER)

    @property
    def clipped(self) -> int:
        return self._inner.clipped

    def begin(self) -> bytes:
        return self._inner.begin()

    def add(self, samples: NDArray[np.float32]) -> bytes:
        return self._inner.add(self._soxr.resample_chunk(samples))

    def end(self) -> bytes:
        rest = self._soxr.resample_chunk(np.zeros(0, np.float32), last=True)
        return self._inner.add(rest) + self._inner.end()
