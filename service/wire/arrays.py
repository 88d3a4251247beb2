"""Arrays of a body: the mel and phases of a form, JSON, npy, npz or safetensors, untrusted."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.errors import UnsupportedMedia
from unmel.service.ops.settings import Settings
from unmel.service.wire.bodies import Body
from unmel.service.wire.codecs import parse_json, parse_json_array, parse_npy, reshape
from unmel.service.wire.media import ARRAY_TYPES, FORM, JSON, NPY, NPZ, OCTET_STREAM, SAFETENSORS
from unmel.service.wire.problems import brief

MAX_JSON_PARTS = 20_000
"""Lists and objects that a JSON body may have beside a mel's frames."""

_MAX_ARRAYS = 16
_MAX_HEADER = 2**16
# BF16 is the upper half of a float32.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_KINDS = "one of " + ", ".join(_DTYPES)


def read_mel(
    body: Body, settings: Settings
) -> tuple[NDArray[Any], NDArray[Any] | None, dict[str, Any]]:
    """Read the mel, the phases and the options of a body, without a check of their values.

    Parameters
    ----------
    body
        JSON, a form or an array file.
    settings
        Limits.

    Returns
    -------
    Mel, phases (or None), and options by name.

    Raises
    ------
    Invalid
        Or a subclass; the body cannot be read.

    """
    if body.media_type == JSON:
        # A mel is a list of bands or of frames, and phases one of bins; configs have few parts.
        fields = parse_json(body.data, settings.max_frames + MAX_JSON_PARTS)
        if "mel" not in fields:
            raise Invalid("mel", "nothing", "the mel, as nested lists or base64")
        mel = parse_json_array("mel", fields.pop("mel"))
        phases = parse_json_array("phases", fields.pop("phases")) if "phases" in fields else None
        return mel, phases, fields
    max_bytes = settings.max_body_bytes
    if body.media_type == FORM:
        arrays = parse_arrays("mel", body.file("mel"), OCTET_STREAM, max_bytes)
        if "phases" in body.files:
            arrays |= parse_arrays("phases", body.files["phases"], OCTET_STREAM, max_bytes)
        fields = dict(body.fields)
        if "filterbank" in body.files:
            file = parse_arrays("filterbank", body.files["filterbank"], OCTET_STREAM, max_bytes)
            arrays["filterbank"] = file["filterbank"]
        return arrays["mel"], arrays.get("phases"), fields | _beside(arrays)
    if body.media_type in ARRAY_TYPES:
        arrays = parse_arrays("mel", body.data, body.media_type, max_bytes)
        return arrays["mel"], arrays.get("phases"), _beside(arrays)
    raise UnsupportedMedia(
        "Content-Type",
        repr(body.media_type),
        f"{NPY}, {NPZ}, {SAFETENSORS}, {JSON} or {FORM}",
    )


def _beside(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The array `filterbank` of a body, which belongs into the option `config`."""
    return {name: arrays[name] for name in ("filterbank",) if name in arrays}


def parse_arrays(
    field: str, data: bytes, media_type: str, max_bytes: int
) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file.

    Parameters
    ----------
    field
        Name of the required array; a single array counts as it, whatever its name.
    data
        Content of the file.
    media_type
        Key of `media.ARRAY_TYPES`.
    max_bytes
        Upper bound of the unpacked size.

    Returns
    -------
    Arrays by name, among them `field`.

    Raises
    ------
    Invalid
        The file cannot be read, is too large, or lacks the array.

    """
    kind = ARRAY_TYPES[media_type]
    if kind == OCTET_STREAM:
        kind = _kind_of(data)
    if kind == NPY:
        return {field: parse_npy(field, data)}
    arrays = parse_npz(field, data, max_bytes) if kind == NPZ else parse_safetensors(field, data)
    if len(arrays) == 1:
        return {field: next(iter(arrays.values()))}
    if field not in arrays:
        names = ", ".join(map(brief, arrays)) or "nothing"
        raise Invalid(
            field, f"a file with {names}"[:200], f"an array named {field!r}, or a single array"
        )
    return arrays


def _kind_of(data: bytes) -> str:
    """Format by the first bytes; npy if they match none."""
    if data.startswith(b"PK"):
        return NPZ
    if not data.startswith(b"\x93NUMPY") and data[8:9] == b"{":
        return SAFETENSORS
    return NPY


def parse_npz(field: str, data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz file.

    Parameters
    ----------
    field
        Field that an error names.
    data
        Output of `np.savez` or `np.savez_compressed`.
    max_bytes
        Upper bound of the unpacked size, whatever lengths the file states.

    Raises
    ------
    Invalid
        Unreadable for other bytes, TooLarge for too many arrays or bytes.

    """
    want = "the output of np.savez"
    arrays: dict[str, NDArray[Any]] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS:
                raise TooLarge(field, f"{len(members)} arrays", f"at most {_MAX_ARRAYS}")
            for member in members:
                if member.file_size > left:
                    raise TooLarge(
                        field, f"an archive of over {max_bytes} bytes", f"at most {max_bytes}"
                    )
                with archive.open(member) as file:  # yields at most file_size bytes
                    values = file.read(left + 1)
                left -= len(values)
                name = member.filename.removesuffix(".npy")
                arrays[name] = parse_npy(field, values)
    except Invalid:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds on corrupt bytes
        raise Unreadable(field, f"{len(data)} bytes that are not an npz file", want) from error
    return arrays


def parse_safetensors(field: str, data: bytes) -> dict[str, NDArray[Any]]:
    """Read the arrays of a safetensors file.

    The library checks that the header's lengths match the data and that no arrays overlap.

    Parameters
    ----------
    field
        Field that an error names.
    data
        Output of `safetensors.save`.

    Raises
    ------
    Invalid
        Unreadable for other bytes, TooLarge for too many arrays, Invalid for another dtype.

    """
    want = f"the output of safetensors.save, with {_KINDS}"
    if int.from_bytes(data[:8], "little") > _MAX_HEADER:  # the library allows 100 MB
        raise Unreadable(field, f"a safetensors header of over {_MAX_HEADER} bytes", want)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        entries = deserialize(data)
        if len(entries) > _MAX_ARRAYS:
            raise TooLarge(field, f"{len(entries)} arrays", f"at most {_MAX_ARRAYS}")
        for name, entry in entries:
            kind = entry["dtype"]
            if kind not in _DTYPES:
                raise Invalid(field, f"safetensors of dtype {brief(kind)}", _KINDS)
            array: NDArray[Any] = np.frombuffer(entry["data"], _DTYPES[kind])
            if kind == "BF16":
                array = array.astype("<u4")
                array <<= 16
                array = array.view("<f4")
            arrays[name] = reshape(field, array, entry["shape"])
    except SafetensorError as error:
        reason = brief(str(error).removeprefix("Error while deserializing: "))
        got = f"{len(data)} bytes that are not a safetensors file: {reason}"
        raise Unreadable(field, got, want) from error
    return arrays
