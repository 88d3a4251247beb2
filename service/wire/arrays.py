"""Arrays of a body: the mel and phases of a form, JSON, npy, npz or safetensors, untrusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.service.errors import UnsupportedMedia
from unmel.service.ops.settings import Settings
from unmel.service.wire.bodies import Body
from unmel.service.wire.codecs import parse_json, parse_json_array, parse_npy
from unmel.service.wire.media import ARRAY_TYPES, FORM, JSON, NPY, NPZ, OCTET_STREAM, SAFETENSORS
from unmel.service.wire.named_arrays import parse_npz, parse_safetensors

MAX_JSON_PARTS = 20_000
"""Lists and objects that a JSON body may have beside a mel's frames."""

FILTERBANK = "filterbank"
"""The array of a body that belongs into its option `config`."""
WITH_MEL = ("phases", FILTERBANK)
"""Arrays that are read beside a mel in its file, or in a file of their own in a form."""


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
        mel, phases = fields.pop("mel", None), fields.pop("phases", None)
        if mel is None:
            raise Invalid("mel", "nothing", "the mel, as nested lists or base64")
        mel = parse_json_array("mel", mel)
        return mel, None if phases is None else parse_json_array("phases", phases), fields
    max_bytes = settings.max_body_bytes
    if body.media_type == FORM:
        arrays = parse_arrays("mel", body.file("mel"), OCTET_STREAM, max_bytes, WITH_MEL)
        arrays |= parse_form_arrays(body, WITH_MEL, max_bytes)
        fields = body.options("mel", *WITH_MEL)
        return arrays["mel"], arrays.get("phases"), fields | options_beside(arrays)
    if body.media_type in ARRAY_TYPES:
        arrays = parse_arrays("mel", body.data, body.media_type, max_bytes, WITH_MEL)
        return arrays["mel"], arrays.get("phases"), options_beside(arrays)
    want = f"{NPY}, {NPZ}, {SAFETENSORS}, {JSON} or {FORM}"
    if body.media_type.startswith("audio/"):
        want += "; POST /analyze takes audio"
    raise UnsupportedMedia("Content-Type", repr(body.media_type), want)


def options_beside(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """A body's own filterbank among its options, where `config` takes it."""
    return {name: arrays[name] for name in (FILTERBANK,) if name in arrays}


def parse_form_arrays(body: Body, names: Iterable[str], max_bytes: int) -> dict[str, NDArray[Any]]:
    """Read those files of a form that are arrays; parameters and errors as of `parse_arrays`."""
    arrays = {}
    for name in names:
        if name in body.files or body.fields.get(name) is not None:
            arrays[name] = parse_arrays(name, body.file(name), OCTET_STREAM, max_bytes)[name]
    return arrays


def parse_arrays(
    field: str, data: bytes, media_type: str, max_bytes: int, wanted: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file that have a meaning.

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
    wanted
        Names of further arrays; all others are left unread.

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
    if kind == NPZ:
        return parse_npz(field, data, max_bytes, wanted)
    if kind == SAFETENSORS:
        return parse_safetensors(field, data, wanted)
    return {field: parse_npy(field, data)}


def _kind_of(data: bytes) -> str:
    """Format by the first bytes; npy if they match none."""
    if data.startswith(b"PK"):
        return NPZ
    if not data.startswith(b"\x93NUMPY") and data[8:9] == b"{":
        return SAFETENSORS
    return NPY
