"""Arrays from files that hold several by name: npz and safetensors, read without trusting them."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.codecs import NPY, NPY_TYPES, parse_npy, shaped
from unmel.service.wire.problems import brief

NPZ = "application/x-npz"
SAFETENSORS = "application/x-safetensors"
_ANY = "application/octet-stream"

# Media types of raw bodies, and what they are read as; of octet-stream the first bytes tell.
ARRAY_TYPES: dict[str, str] = {
    **dict.fromkeys(NPY_TYPES, NPY),
    _ANY: _ANY,
    NPZ: NPZ,
    "application/npz": NPZ,
    "application/zip": NPZ,
    SAFETENSORS: SAFETENSORS,
    "application/safetensors": SAFETENSORS,
    "application/vnd.safetensors": SAFETENSORS,
}

_MEMBERS = 16
_LONGEST_HEADER = 2**16
# BF16 is the upper half of a float32.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_KINDS = "one of " + ", ".join(_DTYPES)


def parse_arrays(
    field: str, data: bytes, media_type: str, max_bytes: int
) -> dict[str, NDArray[Any]]:
    """The arrays in a file by name; a file of one array, whatever it is called, holds `field`.

    `media_type` is one of ARRAY_TYPES'; `max_bytes` bounds what is unpacked.
    """
    kind = ARRAY_TYPES[media_type]
    if kind == _ANY:
        kind = _kind_of(data)
    if kind == NPY:
        return {field: parse_npy(field, data)}
    arrays = parse_npz(field, data, max_bytes) if kind == NPZ else parse_safetensors(field, data)
    if len(arrays) == 1:
        return {field: next(iter(arrays.values()))}
    if field not in arrays:
        names = ", ".join(map(brief, arrays)) or "nothing"
        raise Invalid(field, f"a file of {names}"[:200], f"an array named {field!r}, or one alone")
    return arrays


def _kind_of(data: bytes) -> str:
    """What the first bytes look like; npy where they look like nothing."""
    if data.startswith(b"PK"):
        return NPZ
    if not data.startswith(b"\x93NUMPY") and data[8:9] == b"{":
        return SAFETENSORS
    return NPY


def parse_npz(field: str, data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of `np.savez` or `np.savez_compressed`.

    TooLarge if they would unpack to more than `max_bytes`, whatever their own lengths say.
    """
    want = "the bytes of np.savez"
    arrays: dict[str, NDArray[Any]] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MEMBERS:
                raise TooLarge(field, f"{len(members)} arrays", f"at most {_MEMBERS}")
            for member in members:
                if member.file_size > left:
                    raise TooLarge(
                        field, f"an archive of over {max_bytes} bytes", f"at most {max_bytes}"
                    )
                with archive.open(member) as file:  # gives no more than file_size
                    values = file.read(left + 1)
                left -= len(values)
                name = member.filename.removesuffix(".npy")
                arrays[name] = parse_npy(field, values)
    except Invalid:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds on bytes made up
        raise Unreadable(field, f"{len(data)} bytes that are no npz file", want) from error
    return arrays


def parse_safetensors(field: str, data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of `safetensors.save`: the library sees to it that the header's
    lengths are the values' and that no two arrays share any.
    """
    want = f"the bytes of safetensors.save, of {_KINDS}"
    if int.from_bytes(data[:8], "little") > _LONGEST_HEADER:  # the library's own bound is 100 MB
        raise Unreadable(field, f"a safetensors header of over {_LONGEST_HEADER} bytes", want)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        entries = deserialize(data)
        if len(entries) > _MEMBERS:
            raise TooLarge(field, f"{len(entries)} arrays", f"at most {_MEMBERS}")
        for name, entry in entries:
            kind = entry["dtype"]
            if kind not in _DTYPES:
                raise Invalid(field, f"safetensors of {brief(kind)}", _KINDS)
            array: NDArray[Any] = np.frombuffer(entry["data"], _DTYPES[kind])
            if kind == "BF16":
                array = array.astype("<u4")
                array <<= 16
                array = array.view("<f4")
            arrays[name] = shaped(field, array, entry["shape"])
    except SafetensorError as error:
        reason = brief(str(error).removeprefix("Error while deserializing: "))
        got = f"{len(data)} bytes that are no safetensors file: {reason}"
        raise Unreadable(field, got, want) from error
    return arrays
