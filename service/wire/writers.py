"""Audio written while it is being made: what can be sent before the last sample is known."""

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
    RESAMPLER,
    AudioFormat,
    held_rate,
    to_fixed,
    write_samples,
)

WRITTEN = frozenset({"wav", "wav_f32", "flac", "ogg", "opus", "pcm", "pcm_f32"})
"""The formats of a stream. Not mp3: its length and its encoder's delay, without which it is read
back too long or too short, stand at its beginning and are known at its end.
"""

# The size in a header whose writer does not know it, as other writers to pipes have it.
_UNKNOWN = 0xFFFFFFFF
# Where FLAC's STREAMINFO says, in 36 bits, how many samples there are; RFC 9639, section 8.2.
_FLAC_COUNT = slice(21, 26)


class Writer(Protocol):
    """Turns samples `[k]` into bytes as they come."""

    @property
    def clipped(self) -> int:
        """Samples beyond full scale that were cut off: they are sent before the peak is known."""

    def begin(self) -> bytes:
        """What stands before the first sample."""

    def add(self, samples: NDArray[np.float32]) -> bytes:
        """What can be sent now; nothing while an encoder gathers its block."""

    def end(self) -> bytes:
        """What is left."""


def writer(name: str, sample_rate: int, samples: int | None) -> Writer:
    """The writer of a format for samples of `sample_rate`, Hz, which it brings to the rate that
    the format holds (`formats.held_rate`); `samples` is how many will come, None if nobody knows.
    """
    form, (held, _) = FORMATS[name], held_rate(name, sample_rate)
    if held != sample_rate:
        return _Resampled(_Encoded(form, held, None), sample_rate, held)
    if form.container in ("FLAC", "OGG"):
        return _Encoded(form, held, samples)
    return _Plain(form, held, samples)


class _Plain:
    """Bare samples, behind a header for WAV."""

    def __init__(self, form: AudioFormat, sample_rate: int, samples: int | None) -> None:
        self.clipped, self._form = 0, form
        self._rate, self._samples = sample_rate, samples

    def begin(self) -> bytes:
        if self._form.container is None:
            return b""
        width = 2 if self._form.fixed_point else 4
        size = _UNKNOWN if self._samples is None else self._samples * width
        # Tag 1 is PCM, 3 IEEE float, which has an (empty) extension and a count of samples.
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
        self.clipped += _beyond(samples)
        return to_fixed(samples).tobytes()

    def end(self) -> bytes:
        return b""


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def _beyond(samples: NDArray[np.float32]) -> int:
    return int((np.abs(samples) > 1.0).sum())


class _Sink(io.RawIOBase):
    """Keeps what is appended until it is taken; what is written again is past changing."""

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
        piece = bytes(data)  # type: ignore[call-overload] # soundfile hands over a buffer
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
    """FLAC, vorbis and opus by libsndfile: what its encoder has not written stays with it.

    FLAC comes in blocks of 4096 samples, and its header has no checksum of the whole; the others
    in Ogg's pages, about one a second.
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
        self.clipped += _beyond(samples)
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
    """Another writer's, behind a resampler, which keeps some milliseconds to itself."""

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
