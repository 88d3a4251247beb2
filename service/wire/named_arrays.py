"""Arrays by name out of npz and safetensors files; whatever else lies in the file is not read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.wire.codecs import parse_json, parse_npy, reshape, widen_bfloat16
from unmel.service.wire.problems import brief
from unmel.service.wire.recognise import recognise, unreadable_array

# Arrays in a file: a file of a whole model has some hundreds.
_MAX_ARRAYS = 1000
_MAX_HEADER = 2**20
_NAMES_SHOWN = 8
# Of a member in the directory at an archive's end; APPNOTE.TXT, section 4.3.12.
_MEMBER = b"PK\x01\x02"
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    **{f"{kind}{8 * n}": np.dtype(f"<{kind.lower()}{n}") for kind in "IU" for n in (1, 2, 4, 8)},
}
_KINDS = "one of " + ", ".join(_DTYPES)


def parse_npz(
    field: str, data: bytes, max_bytes: int, wanted: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read arrays of an npz file.

    Parameters
    ----------
    field
        Array that must be there; errors name it.
    data
        Output of `np.savez` or `np.savez_compressed`.
    max_bytes
        Upper bound of the unpacked size of what is read, whatever lengths the file states.
    wanted
        Arrays that may be there too.

    Returns
    -------
    Arrays by name, among them `field`; the others are neither unpacked nor parsed.

    Raises
    ------
    Invalid
        Unreadable for other bytes, TooLarge for too many arrays or bytes.

    """
    arrays: dict[str, NDArray[Any]] = {}
    left = max_bytes
    want = "the output of np.savez"
    if (known := recognise(data)) is not None and known[1] == "torch":
        raise unreadable_array(field, data, want)
    count = data.count(_MEMBER)  # before zipfile makes an object of each
    if count > _MAX_ARRAYS:
        raise TooLarge(field, f"{count} arrays", f"at most {_MAX_ARRAYS}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            names = [name for name in members if not name.endswith("/")]
            for name, stored in _choose(field, names, wanted).items():
                member = members[stored]
                if member.file_size > left:
                    raise TooLarge(
                        field, f"an archive of over {max_bytes} bytes", f"at most {max_bytes}"
                    )
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise Unreadable(
                        field,
                        f"an array packed by method {member.compress_type}",
                        "the output of np.savez or np.savez_compressed",
                    )
                with archive.open(member) as file:  # yields at most file_size bytes
                    values = file.read(left + 1)
                left -= len(values)
                arrays[name] = parse_npy(field, values)
    except Invalid:
        raise
    except Exception as error:  # zipfile and zlib raise a dozen kinds on corrupt bytes
        if data.startswith(b"PK"):
            raise Unreadable(field, "a zip archive that cannot be read", want) from error
        raise unreadable_array(field, data, want) from error
    return arrays


def parse_safetensors(
    field: str, data: bytes, wanted: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read arrays of a safetensors file.

    Parameters
    ----------
    field
        Array that must be there; errors name it.
    data
        Output of `safetensors.save`.
    wanted
        Arrays that may be there too.

    Returns
    -------
    Arrays by name, among them `field`; of the others only the places are checked.

    Raises
    ------
    Invalid
        Unreadable for other bytes, and for arrays that overlap or leave bytes out; TooLarge for
        too many arrays, Invalid for another dtype.

    References
    ----------
    https://github.com/huggingface/safetensors, "Format": eight bytes with the length of the JSON
    that follows, in it `dtype`, `shape` and `data_offsets` of each array, then their values
    without a gap.

    """
    want = f"the output of safetensors.save, with {_KINDS}"
    size = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{":
        raise unreadable_array(field, data, want)
    if size > _MAX_HEADER:
        raise Unreadable(field, f"a safetensors header of over {_MAX_HEADER} bytes", want)
    try:
        header = parse_json(data[8 : 8 + size], 4 * _MAX_ARRAYS)
    except TooLarge:
        got = "a safetensors header of too many lists"
        raise TooLarge(field, got, f"at most {_MAX_ARRAYS} arrays") from None
    except Invalid as error:
        got = f"{len(data)} bytes that are not a safetensors file: {error.got}"
        raise Unreadable(field, got, want) from None
    header.pop("__metadata__", None)
    values = memoryview(data)[8 + size :]
    places = sorted(_place(field, name, entry) for name, entry in header.items())
    ends = [0, *(end for _, end in places)]
    if [start for start, _ in places] != ends[:-1] or ends[-1] != len(values):
        got = f"a safetensors file whose arrays do not fill its {len(values)} bytes one by one"
        raise Unreadable(field, got, want)
    return {
        name: _tensor(field, header[stored], values)
        for name, stored in _choose(field, list(header), wanted).items()
    }


def _choose(field: str, names: list[str], wanted: Iterable[str]) -> dict[str, str]:
    """Stored names by the names that are wanted, `field` among them.

    A name may be in a folder; a single array, or a single one beside those wanted, is `field`
    whatever its name.
    """
    kinds = {field, *wanted}
    chosen = {name: name for name in names if name in kinds}
    for kind in kinds - set(chosen):
        nested = [name for name in names if name.rsplit("/", 1)[-1] == kind]
        if len(nested) == 1:
            chosen[kind] = nested[0]
    if field not in chosen:
        others = names if len(names) == 1 else [n for n in names if n not in chosen.values()]
        if len(others) != 1:
            shown = [brief(name) for name in names[:_NAMES_SHOWN]]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            got = ", ".join(shown) + more or "nothing"
            raise Invalid(
                field, f"a file with {got}", f"an array named {field!r}, or a single array"
            )
        chosen = {kind: name for kind, name in chosen.items() if name != others[0]}
        chosen[field] = others[0]
    return chosen


def _place(field: str, name: str, entry: object) -> tuple[int, int]:
    """First byte of an array and the one behind its last."""
    offsets = entry.get("data_offsets") if isinstance(entry, Mapping) else None
    match offsets:
        case [int(start), int(end)] if 0 <= start <= end:
            return start, end
    got = f"a safetensors file without the place of {brief(name)}"
    raise Unreadable(field, got, "data_offsets: first byte, and the one behind the last")


def _tensor(field: str, entry: Mapping[str, Any], values: memoryview) -> NDArray[Any]:
    """The array of a header's entry."""
    kind, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise Invalid(field, f"safetensors of dtype {brief(kind)}", _KINDS)
    dtype, (start, end) = _DTYPES[kind], entry["data_offsets"]
    sizes = shape if isinstance(shape, list) else [-1]
    if (
        not all(type(size) is int and size >= 0 for size in sizes)
        or math.prod(sizes) * dtype.itemsize != end - start
    ):
        got = f"{end - start} bytes of {kind} for shape {str(shape)[:80]}"
        raise Unreadable(field, got, "as many bytes as the shape has")
    # A copy, because a view would keep the whole body in memory.
    array: NDArray[Any] = np.frombuffer(values, dtype, math.prod(sizes), start).copy()
    if kind == "BF16":
        array = widen_bfloat16(array)
    return reshape(field, array, sizes)
