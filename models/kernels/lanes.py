"""Eight floats that loops handle as one value: a vector of the processor's.

LLVM is told what is eight wide, where it would have to find out, and makes of it what a processor
has. Products and sums may be fused where that is one instruction: then all of a loop's are, so that
a value's bits do not depend on its place.
"""

from __future__ import annotations

import operator
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

COUNT = 8
"""Floats of a value."""

_FLOAT, _PLACE = ir.FloatType(), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, COUNT)


class _Type(types.Type):  # type: ignore[misc] # numba has no types
    def __init__(self) -> None:
        super().__init__(name="eight floats")


LANES = _Type()
"""Numba's type of such a value."""


@register_model(_Type)
class _Model(models.PrimitiveModel):  # type: ignore[misc] # likewise
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _operator(python: Any, instruction: str) -> None:
    class Template(ConcreteTemplate):  # type: ignore[misc] # likewise
        cases = (signature(LANES, LANES, LANES),)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=("contract",))

    infer_global(python)(Template)
    lower_builtin(python, LANES, LANES)(lower)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * COUNT)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())


def _is_place(array: Any, place: Any) -> bool:
    """Whether it is a place in an array of one axis; it is neither checked nor counted from the
    end.
    """
    flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    return flat and array.dtype == types.float32 and isinstance(place, types.Integer)


def _load(typing: Any, array: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, sig.args[0], *args))
        value.align = 4
        return value

    return (LANES(array, types.intp), generate) if _is_place(array, place) else None


def _store(typing: Any, array: Any, place: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = _pointer(context, builder, sig.args[0], *args[:2])
        builder.store(args[2], at).align = 4
        return context.get_dummy_value()

    whole = _is_place(array, place) and value is LANES
    return (types.void(array, types.intp, LANES), generate) if whole else None


def _splat(builder: Any, value: Any) -> Any:
    zero = ir.Constant(_PLACE, 0)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, zero)
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_PLACE, COUNT), [0] * COUNT))


def _fill(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return LANES(types.float32), generate


def _chosen(typing: Any, a: Any, b: Any, order: str) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(order, *args), *args)

    return LANES(LANES, LANES), generate


def _smaller(typing: Any, a: Any, b: Any) -> Any:
    return _chosen(typing, a, b, "<")


def _larger(typing: Any, a: Any, b: Any) -> Any:
    return _chosen(typing, a, b, ">")


def _inverse_root(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        root = cgutils.get_or_insert_function(builder.module, kind, "llvm.sqrt.v8f32")
        found = builder.call(root, args, fastmath=("fast",))
        return builder.fdiv(_constant(1.0), found, flags=("fast",))

    return LANES(LANES), generate


def _shuffled(builder: Any, a: Any, b: Any, *places: int) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_PLACE, COUNT), list(places)))


def _pair_sums(typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        even = _shuffled(builder, *args, 0, 2, 8, 10, 4, 6, 12, 14)
        odd = _shuffled(builder, *args, 1, 3, 9, 11, 5, 7, 13, 15)
        return builder.fadd(even, odd)

    return LANES(LANES, LANES), generate


def _twice(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low = _shuffled(builder, args[0], args[0], 0, 0, 1, 1, 4, 4, 5, 5)
        high = _shuffled(builder, args[0], args[0], 2, 2, 3, 3, 6, 6, 7, 7)
        return context.make_tuple(builder, sig.return_type, (low, high))

    return types.UniTuple(LANES, 2)(LANES), generate


def _transposed(typing: Any, rows: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        r = cgutils.unpack_tuple(builder, args[0], COUNT)
        # Pairs of rows, then fours, then both halves of a vector: three steps of eight shuffles.
        pairs = []
        for k in range(0, COUNT, 2):
            pairs.append(_shuffled(builder, r[k], r[k + 1], 0, 8, 1, 9, 4, 12, 5, 13))
            pairs.append(_shuffled(builder, r[k], r[k + 1], 2, 10, 3, 11, 6, 14, 7, 15))
        fours = []
        for k in range(0, COUNT, 4):
            for a, b in ((pairs[k], pairs[k + 2]), (pairs[k + 1], pairs[k + 3])):
                fours.append(_shuffled(builder, a, b, 0, 1, 8, 9, 4, 5, 12, 13))
                fours.append(_shuffled(builder, a, b, 2, 3, 10, 11, 6, 7, 14, 15))
        ends = [(0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)]
        columns = [_shuffled(builder, fours[k], fours[k + 4], *end) for end in ends for k in range(4)]
        return context.make_tuple(builder, sig.return_type, columns)

    kind = types.UniTuple(LANES, COUNT)
    return (kind(kind), generate) if rows == kind else None


load = cast(Any, intrinsic(_load))
"""`load(array, place)`: eight floats from a place on."""
store = cast(Any, intrinsic(_store))
"""`store(array, place, value)`."""
fill = cast(Any, intrinsic(_fill))
"""`fill(number)`: it, eight times."""
smaller = cast(Any, intrinsic(_smaller))
"""The smaller of two; the second where they cannot be compared."""
larger = cast(Any, intrinsic(_larger))
"""Likewise the larger."""
inverse_root = cast(Any, intrinsic(_inverse_root))
"""`1 / sqrt(x)` for x > 0, by a processor's estimate and a step of Newton's where it has one."""
pair_sums = cast(Any, intrinsic(_pair_sums))
"""Sums of neighbours of `a` and of `b`, in the order `PAIRS` of all sixteen's."""
PAIRS = (0, 1, 4, 5, 2, 3, 6, 7)
twice = cast(Any, intrinsic(_twice))
"""The way back from that order: each twice, in two values."""
transposed = cast(Any, intrinsic(_transposed))
"""Eight values' first floats, their second ones, and so on."""
