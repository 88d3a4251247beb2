"""Audio files from a pipe, whose headers could not state a size: it is written in."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

# Chunks before the samples; a file has about ten.
_MAX_CHUNKS = 1000
_RF64_SIZE = slice(28, 36)
_UNKNOWN = 0xFFFFFFFF
_W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")


@dataclass(frozen=True)
class _Container:
    """A file of chunks: a name, a size, and as many bytes."""

    first: int
    """Place of the first chunk."""
    samples: bytes
    """Name of the chunk of samples."""
    size: str
    """A size's layout, as `struct` has it."""
    own: int = 0
    """Bytes of a chunk's head that its size includes."""
    empty: int = 0
    """Size of a chunk without samples."""
    step: int = 1
    """Chunks begin at multiples of it, counted from the first."""


_CONTAINERS = {
    b"RIFF": _Container(12, b"data", "<I", step=2),
    b"RF64": _Container(12, b"data", "<I", step=2),
    b"FORM": _Container(12, b"SSND", ">I", empty=8, step=2),
    b"caff": _Container(8, b"data", ">q", empty=4),
    b"riff": _Container(40, b"data" + _W64_GUID, "<q", own=24, step=8),
}


def audio_stream(data: bytes) -> io.BytesIO:
    """Open an audio file, with the size of its samples where the header states none.

    A writer that cannot seek back leaves 0, -1 or the largest number in the header of a wav, rf64,
    w64, aiff, caf or au; libsndfile reads some of these files, and in others it finds no samples.

    Parameters
    ----------
    data
        Content of the file, which is copied only where a size is written in.

    """
    stream = io.BytesIO(data)
    magic = data[:4]
    if magic == b".snd" and len(data) >= 12:
        offset, size = struct.unpack(">II", data[4:12])
        if size == 0 or offset + size > len(data):
            _write(stream, 8, struct.pack(">I", _UNKNOWN))
    elif magic in _CONTAINERS:
        kind = _CONTAINERS[magic]
        place = _find_samples(data, kind)
        if place is not None:
            _state_size(stream, data, kind, place)
    stream.seek(0)
    return stream


def _find_samples(data: bytes, kind: _Container) -> int | None:
    """Place of the size of the chunk of samples; None where there is none."""
    place, length = kind.first, struct.calcsize(kind.size)
    for _ in range(_MAX_CHUNKS):
        at = place + len(kind.samples)
        if at + length > len(data):
            return None
        if data[place:at] == kind.samples:
            return at
        [size] = struct.unpack_from(kind.size, data, at)
        if size < kind.own:
            return None
        end = at + length + size - kind.own
        place = end + (kind.first - end) % kind.step
    return None


def _state_size(stream: io.BytesIO, data: bytes, kind: _Container, at: int) -> None:
    """Write the size of the samples at `at`, if the header has none."""
    here = len(data) - at - struct.calcsize(kind.size)
    [size] = struct.unpack_from(kind.size, data, at)
    size -= kind.own
    if data.startswith(b"RF64"):
        [size] = struct.unpack("<Q", data[_RF64_SIZE])
    # A file that is sound but empty counts what follows its samples.
    sound = data[:4] in (b"RIFF", b"FORM") and _outer_size(data) == len(data) - 8
    if kind.empty < size <= here or (size == kind.empty and sound):
        return
    most = 2 ** (8 * struct.calcsize(kind.size) - 1) - 1
    _write(stream, at, struct.pack(kind.size, min(here + kind.own, most)))
    if data.startswith(b"RF64"):  # without its 64-bit sizes it is a wav
        _write(stream, 0, b"RIFF" + struct.pack("<I", min(len(data) - 8, _UNKNOWN)))
    elif data.startswith(b"riff"):
        _write(stream, 16, struct.pack("<q", len(data)))


def _outer_size(data: bytes) -> int:
    order = "<I" if data.startswith(b"RIFF") else ">I"
    [size] = struct.unpack_from(order, data, 4)
    return int(size)


def _write(stream: io.BytesIO, place: int, value: bytes) -> None:
    stream.seek(place)
    stream.write(value)
