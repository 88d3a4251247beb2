"""Vectors: a numba type of eight floats, which LLVM maps to the processor's vectors.

LLVM need not find out what can be vectorised. `fused` is one instruction where the processor has
it, and no other product is fused with a sum, so that a value's bits do not depend on its place.
"""

from __future__ import annotations

import operator
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

COUNT = 8
"""Floats of a value."""

_FLOAT, _PLACE = ir.FloatType(), ir.IntType(32)
_VECTOR, _WHOLE = ir.VectorType(_FLOAT, COUNT), ir.VectorType(_PLACE, COUNT)
_FRACTION, _BIAS = 23, 127  # of a float32: bits of the fraction, and what its exponent counts from


class _Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="eight floats")


EIGHT = _Type()
"""Numba's type of such a value."""


@register_model(_Type)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call] # numba's


def _operator(python: Any, instruction: str, count: int = 2) -> None:
    class Template(ConcreteTemplate):
        cases = (signature(EIGHT, *[EIGHT] * count),)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)

    infer_global(python)(Template)
    lower_builtin(python, *[EIGHT] * count)(lower)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")
_operator(operator.neg, "fneg", 1)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * COUNT)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())


def _is_place(array: Any, place: Any) -> bool:
    """Whether it indexes a flat array; the index is neither checked nor counted from the end."""
    flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    return flat and array.dtype == types.float32 and isinstance(place, types.Integer)


def _load(typing: Any, array: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, sig.args[0], *args))
        value.align = 4
        return value

    return (EIGHT(array, types.intp), generate) if _is_place(array, place) else None


def _store(typing: Any, array: Any, place: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = _pointer(context, builder, sig.args[0], *args[:2])
        builder.store(args[2], at).align = 4
        return context.get_dummy_value()

    whole = _is_place(array, place) and value is EIGHT
    return (types.void(array, types.intp, EIGHT), generate) if whole else None


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_PLACE, 0))
    return builder.shuffle_vector(one, one, _whole(0))


def _fill(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0], _VECTOR)

    return EIGHT(types.float32), generate


def _chosen(typing: Any, a: Any, b: Any, order: str) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(order, *args), *args)

    return EIGHT(EIGHT, EIGHT), generate


def _smaller(typing: Any, a: Any, b: Any) -> Any:
    return _chosen(typing, a, b, "<")


def _larger(typing: Any, a: Any, b: Any) -> Any:
    return _chosen(typing, a, b, ">")


def _inverse_root(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found = _call(builder, "sqrt", args, "fast")
        return builder.fdiv(_constant(1.0), found, flags=("fast",))

    return EIGHT(EIGHT), generate


def _call(builder: Any, name: str, args: Any, *flags: str) -> Any:
    """One of LLVM's functions of floats."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v8f32")
    return builder.call(function, args, fastmath=flags)


def _fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "fmuladd", args)

    return EIGHT(EIGHT, EIGHT, EIGHT), generate


def _floor(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "floor", args)

    return EIGHT(EIGHT), generate


def _where_negative(typing: Any, value: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], _constant(0.0)), *args[1:])

    return EIGHT(EIGHT, EIGHT, EIGHT), generate


def _whole(value: int) -> ir.Constant:
    return ir.Constant(_WHOLE, [value] * COUNT)


def _split(typing: Any, value: Any, least: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _WHOLE)
        above = builder.sub(bits, _splat(builder, args[1], _WHOLE))
        power = builder.ashr(above, _whole(_FRACTION))
        rest = builder.bitcast(builder.sub(bits, builder.shl(power, _whole(_FRACTION))), _VECTOR)
        parts = builder.sitofp(power, _VECTOR), rest
        return context.make_tuple(builder, sig.return_type, parts)

    return types.UniTuple(EIGHT, 2)(EIGHT, types.int32), generate


def _power_of_two(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        exponent = builder.add(builder.fptosi(args[0], _WHOLE), _whole(_BIAS))
        return builder.bitcast(builder.shl(exponent, _whole(_FRACTION)), _VECTOR)

    return EIGHT(EIGHT), generate


def _shuffled(builder: Any, a: Any, b: Any, *places: int) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(_WHOLE, list(places)))


def _pair_sums(typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        even = _shuffled(builder, *args, 0, 2, 8, 10, 4, 6, 12, 14)
        odd = _shuffled(builder, *args, 1, 3, 9, 11, 5, 7, 13, 15)
        return builder.fadd(even, odd)

    return EIGHT(EIGHT, EIGHT), generate


def _twice(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low = _shuffled(builder, args[0], args[0], 0, 0, 1, 1, 4, 4, 5, 5)
        high = _shuffled(builder, args[0], args[0], 2, 2, 3, 3, 6, 6, 7, 7)
        return context.make_tuple(builder, sig.return_type, (low, high))

    return types.UniTuple(EIGHT, 2)(EIGHT), generate


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
        columns = [
            _shuffled(builder, fours[k], fours[k + 4], *end) for end in ends for k in range(4)
        ]
        return context.make_tuple(builder, sig.return_type, columns)

    kind = types.UniTuple(EIGHT, COUNT)
    return (kind(kind), generate) if rows == kind else None


load = cast(Any, intrinsic(_load))
"""`load(array, place)`: eight floats from a place on."""
store = cast(Any, intrinsic(_store))
"""`store(array, place, value)`."""
fill = cast(Any, intrinsic(_fill))
"""`fill(number)`: it, eight times."""
fused = cast(Any, intrinsic(_fused))
"""`fused(a, b, c)`: `a b + c`, rounded once where a processor can."""
floor = cast(Any, intrinsic(_floor))
where_negative = cast(Any, intrinsic(_where_negative))
"""`where_negative(x, a, b)`: `a` where x < 0, else `b`."""
split = cast(Any, intrinsic(_split))
"""`split(x, least)`: the `k` and `m` of `x = m 2^k`, where `least` are the bits of the least m."""
power_of_two = cast(Any, intrinsic(_power_of_two))
"""`2^x` for whole x."""
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
"""Undo `PAIRS`: each float twice, as two vectors."""
transposed = cast(Any, intrinsic(_transposed))
"""Eight values' first floats, their second ones, and so on."""
