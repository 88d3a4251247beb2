"""OwnFilterbank: a client's own filterbank, checked, read-only, and known by its digest."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MAX_WEIGHTS = 1024 * 2049
"""Most weights of a filterbank, 16 MiB: 1024 bands of 4,096 points, or 256 of 16,384."""

# Beyond these the guards against 0/0, which are plain numbers, would be heard: a magnitude is a
# band's value, which is scaled to 1, over the sum of its weights.
_SMALLEST_PEAK, _LARGEST_SUM = 1e-9, 1e6


class OwnFilterbank:
    r"""A filterbank `[K, N]` of a client's own; equal to those with the same digest.

    The digest is `sha256:` and the hexadecimal SHA-256 of the sizes as ASCII text, a newline, and
    the weights as little-endian float64, band after band. A float32 bank has the digest of the
    same numbers in float64:

        hashlib.sha256(b"80x513\n" + bank.astype("<f8").tobytes()).hexdigest()

    Parameters
    ----------
    values
        Weights `[K, N]`, at most `MAX_WEIGHTS`: real, finite, not negative, one of 1e-9 or more, a
        band's sum at most 1e6.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> OwnFilterbank([[0.0, 1.0, 0.5], [0.0, 0.0, 0.5]])
    <OwnFilterbank 2 x 3, sha256:39d2608d...>
    """

    __slots__ = ("banded", "digest", "largest_sum", "values")

    values: NDArray[np.float64]
    """Weights `[K, N]`, read-only."""
    digest: str
    banded: bool
    """Whether `is_banded` says so."""
    largest_sum: float
    """The largest sum of a band's weights."""

    def __init__(self, values: ArrayLike) -> None:
        given = np.asarray(values)
        if given.dtype.kind not in "fiu" or given.ndim != 2:
            shape = "x".join(map(str, given.shape)) or "a single number"
            raise ValueError(f"real numbers [n_mels, n_fft/2 + 1], not {shape} of {given.dtype}")
        if given.size > MAX_WEIGHTS:
            raise ValueError(f"at most {MAX_WEIGHTS} weights, not {given.size}")
        own = np.array(given, dtype=np.float64, order="C")
        wrong = np.argwhere(~(np.isfinite(own) & (own >= 0)))
        if wrong.size:
            k, n = wrong[0]
            raise ValueError(
                f"finite numbers of at least 0, not {own[k, n]:g} in band {k}, bin {n}"
            )
        sums = own.sum(axis=1)
        if sums.max(initial=0.0) > _LARGEST_SUM:
            k = sums.argmax()
            raise ValueError(f"bands of a sum of at most {_LARGEST_SUM:g}, not {sums[k]:g} as {k}")
        if own.max(initial=0.0) < _SMALLEST_PEAK:
            raise ValueError(f"at least one weight of {_SMALLEST_PEAK:g} or more")
        own.setflags(write=False)
        sizes = f"{own.shape[0]}x{own.shape[1]}\n".encode()
        digest = hashlib.sha256(sizes)
        digest.update(np.ascontiguousarray(own, "<f8").data)
        found = {
            "values": own,
            "digest": f"sha256:{digest.hexdigest()}",
            "banded": is_banded(own),
            "largest_sum": float(sums.max()),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is read-only")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnFilterbank) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnFilterbank, (self.values,)

    def __repr__(self) -> str:
        bands, bins = self.values.shape
        return f"<OwnFilterbank {bands} x {bins}, {self.digest[:15]}...>"

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return self.values.nbytes

    @classmethod
    def of(cls, value: object) -> OwnFilterbank:
        """The filterbank of an array, nested lists or a filterbank; ValueError for another."""
        if isinstance(value, OwnFilterbank):
            return value
        if not isinstance(value, list | tuple) and not hasattr(value, "__array__"):
            raise ValueError("an array [n_mels, n_fft/2 + 1]")
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            raise ValueError("an array [n_mels, n_fft/2 + 1], not lists of other forms") from None
        return cls(array)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda bank: bank.digest, when_used="json", return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        numbers = {"type": "array", "items": {"type": "number", "minimum": 0}}
        return {
            "anyOf": [
                {"type": "array", "items": numbers},
                {"type": "object", "required": ["data", "shape"]},
                {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
            ]
        }


def is_banded(bank: NDArray[np.float64]) -> bool:
    """Whether bands are runs of bins that rise, and a bin lies in two neighbouring ones at most.

    Such banks have sparse tables and octaves; every bank of triangles is one.

    Parameters
    ----------
    bank
        Filterbank `[K, N]`, without negative weights.
    """
    held = bank > 0
    widths = held.sum(axis=1)
    first = held.argmax(axis=1)
    last = bank.shape[1] - 1 - held[:, ::-1].argmax(axis=1)
    some = widths > 0
    runs = bool((last - first + 1 == widths)[some].all())
    rising = bool((np.diff(first[some]) >= 0).all() and (np.diff(last[some]) >= 0).all())
    fed = held.sum(axis=0)
    both = (held[:-1] & held[1:]).any(axis=0)
    return runs and rising and bool((fed <= 1 + both).all()) and int(fed.max(initial=0)) <= 2
