"""Tensors of the Open Inference Protocol: bytes or lists to arrays, arrays to bytes or lists.

References: https://github.com/triton-inference-server/server, docs/protocol/
extension_binary_data.md for the bytes of each datatype.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.service.wire.arrays import MAX_JSON_PARTS
from unmel.service.wire.codecs import (
    parse_json,
    parse_json_array,
    reshape,
    widen_bfloat16,
)
from unmel.service.wire.problems import brief

FLOATS: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
"""Datatypes of a mel."""
INTEGERS: dict[str, np.dtype[Any]] = {"INT32": np.dtype("<i4"), "INT64": np.dtype("<i8")}
"""Datatypes of numbers of frames."""
_SIZE = "binary_data_size"
_SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True, eq=False)
class GivenTensor:
    """A tensor as it came: bytes, or nested lists, or an array that the transport made."""

    name: Any
    datatype: Any
    shape: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None
    raw: memoryview | None = None

    def values(
        self, datatypes: Mapping[str, np.dtype[Any]], axes: range, want: str
    ) -> NDArray[Any]:
        """Its values, without a check of what they are.

        Parameters
        ----------
        datatypes
            Those that are read; BF16 becomes float32.
        axes
            Possible numbers of axes.
        want
            Shapes that an error names.

        Raises
        ------
        Invalid
            Or a subclass; datatype, shape and values do not fit each other.

        """
        refuse_shared_memory(self.name, self.parameters)
        dtype = datatypes.get(self.datatype) if isinstance(self.datatype, str) else None
        if dtype is None:
            raise Invalid(
                self.name, f"datatype {brief(self.datatype)}", "one of " + ", ".join(datatypes)
            )
        shape = self.shape
        if (
            not isinstance(shape, list)
            or len(shape) not in axes
            or not all(type(n) is int and 0 <= n < 2**31 for n in shape)
        ):
            raise Invalid(self.name, f"shape {brief(shape)}", want)
        if self.raw is None:
            return reshape(self.name, self._listed(dtype, math.prod(shape)), shape)
        size = math.prod(shape) * dtype.itemsize
        if len(self.raw) != size:
            got = f"{len(self.raw)} bytes for shape {shape} of {self.datatype}"
            raise Invalid(self.name, got, f"{size} bytes")
        values = np.frombuffer(self.raw, dtype)
        if self.datatype == "BF16":
            values = widen_bfloat16(values)
        return reshape(self.name, values, shape)

    def _listed(self, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        """Values `[count]` of lists; those of BF16 are numbers, not bits."""
        given = self.data
        values = given if isinstance(given, np.ndarray) else parse_json_array(self.name, given)
        if values.size != count:
            got = f"{values.size} numbers for shape {self.shape}"
            raise Invalid(self.name, got, f"{count} numbers")
        values = values.reshape(-1)
        if self.datatype == "BF16":
            return values
        if dtype.kind == "i" and values.dtype.kind != "i":
            raise Invalid(self.name, f"numbers of {values.dtype}", "whole numbers")
        with np.errstate(over="ignore"):  # check_mel refuses infinite values
            return values.astype(dtype)


def given_tensors(inputs: Sequence[Any], raw: memoryview) -> list[GivenTensor]:
    """The inputs of a JSON head, each with its part of the bytes behind it.

    Raises
    ------
    Invalid
        An input is no object, or the bytes are not those that the inputs state.

    """
    given, at = [], 0
    for one in inputs:
        tensor = copy_object("inputs", one)
        name = tensor.get("name")
        label = name if isinstance(name, str) else "inputs"
        parameters = copy_object(f"{label[:80]}.parameters", tensor.get("parameters"))
        size, part = parameters.get(_SIZE), None
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(raw) - at:
                got = f"{_SIZE} {brief(size)} and {len(raw) - at} bytes behind the JSON"
                raise Invalid(label[:80], got, "as many bytes as the inputs state")
            part, at = raw[at : at + size], at + size
        kind, shape, data = (tensor.get(member) for member in ("datatype", "shape", "data"))
        given.append(GivenTensor(name, kind, shape, parameters, data, part))
    if at != len(raw):
        raise Invalid("body", f"{len(raw) - at} bytes behind the inputs", f"none without {_SIZE}")
    return given


def refuse_shared_memory(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise Invalid for a tensor that is not in the body."""
    region = parameters.get(_SHARED_MEMORY)
    if region is not None:
        raise Invalid(
            f"{name}.parameters.{_SHARED_MEMORY}",
            brief(region),
            "nothing: there is no shared memory, tensors are in the body",
        )


def copy_object(name: str, value: Any) -> dict[str, Any]:
    """A copy of an object; an empty one for null, as clients write what is not given."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(name, brief(value), "an object")
    return dict(value)


def list_of(name: str, value: Any) -> list[Any]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise Invalid(name, brief(value), "a list")
    return value


def parse_head(data: bytes, max_frames: int) -> dict[str, Any]:
    """The JSON of a request whose mel may have some number of frames."""
    return parse_json(data, max_frames + MAX_JSON_PARTS)


@dataclass(frozen=True, eq=False)
class MadeTensor:
    """A tensor of an answer; of `BYTES` the values are texts."""

    name: str
    datatype: str
    values: NDArray[Any]

    @property
    def shape(self) -> list[int]:
        return list(self.values.shape)

    def listed(self) -> list[Any]:
        """The values as JSON has them."""
        listed: list[Any] = self.values.reshape(-1).tolist()
        return listed

    def raw(self) -> bytes:
        """The values as bytes, row by row; before each text its length."""
        if self.datatype != "BYTES":
            return self.values.tobytes()
        texts = [str(text).encode() for text in self.values.reshape(-1)]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
