"""All iterations of a stage in one call: nothing of Python, and of its lock, between them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from unmel.models.backends.base import MelState, Pack, StepCoefficients
from unmel.models.backends.cpu.frames import frame, move, overlap_add
from unmel.models.backends.cpu.loop import Floats, Places, Spectra, loop
from unmel.models.backends.cpu.mel_step import mend_rows, numbers
from unmel.models.backends.cpu.transforms import block_rows, transforms, width


def _compute(typing: Any, address: Any, descriptor: Any, data: Any) -> Any:
    """MKL's compute function at an address; the descriptor says of what and where it writes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word], var_arg=True)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), list(args[1:]))

    return types.int64(types.int64, types.int64, types.int64), generate


_call = cast(Any, intrinsic(_compute))  # its own type does not know the first argument away


@loop()
def transform_rows(rows: Floats, way: Places) -> int:
    """Rows in place, by MKL's function and descriptors of `Transforms.table`."""
    count, size = rows.shape[0], 4 * rows.shape[1]
    at, status = np.int64(rows.ctypes.data), 0
    for k in range(way.shape[0] - 2, -1, -1):
        while count >= 1 << k:
            status |= _call(way[0], way[1 + k], at)
            at += size << k
            count -= 1 << k
    return status


@loop(
    "i8(f4[::1], f4[::1], f4[:, ::1], f4[:, ::1], f4[::1], i8[::1], i8[::1], i8[::1], f4[::1],"
    " c8[:, ::1], f4[:, :, ::1], b1[:, :, ::1], i8, i8[::1], i8[::1], f4[::1], i4[::1],"
    " f4[:, ::1], f4[:, ::1], i8[:, ::1], i8, i8, i8)"
)
def _iterate(
    signal: Floats,
    window: Floats,
    frames: Floats,
    carry: Floats,
    inverse: Floats,
    edge_to: Places,
    edge_from: Places,
    pin_to: Places,
    pins: Floats,
    behind: Spectra,
    mel: Floats,
    bound: NDArray[np.bool_],
    low: int,
    begins: Places,
    offsets: Places,
    weights: Floats,
    below: NDArray[np.int32],
    shares: Floats,
    steps: Floats,
    table: Places,
    power: int,
    used: int,
    hop: int,
) -> int:
    run, status = frames.shape[0], 0
    for i in range(steps.shape[0]):
        carry[:] = np.float32(0.0)
        for first in range(0, used, run):
            block = frames[: min(run, used - first)]
            frame(signal, window, block, first, hop)
            status |= transform_rows(block, table[0])
            mend_rows(
                block.view(np.complex64),
                behind,
                mel,
                bound,
                first,
                low,
                begins,
                offsets,
                weights,
                below,
                shares,
                steps[i],
                power,
            )
            status |= transform_rows(block, table[1])
            overlap_add(block, window, carry, inverse, signal, first, hop)
        for n in range(pin_to.shape[0]):
            signal[pin_to[n]] = pins[n]
        move(signal, edge_to, edge_from)
    return status


def iterate(pack: Pack, state: MelState, steps: tuple[StepCoefficients, ...]) -> None:
    """`Backend.run_stage`. RuntimeError if a transform fails, which a committed one never does."""
    n, bands, (mel, bound) = pack.n_fft, state.bands, state.target.prepared
    made = transforms(n)
    if made is None:
        raise RuntimeError("no transforms")
    (edge_to, edge_from), (pin_to, pins) = pack.edges, pack.pins
    status = _iterate(
        pack.signal.numpy(),
        pack.window.numpy(),
        np.empty((block_rows(n), width(n)), np.float32),
        pack.carry.numpy(),
        pack.inverse_envelope.numpy(),
        edge_to.numpy(),
        edge_from.numpy(),
        pin_to.numpy(),
        pins.numpy(),
        state.momentum.numpy(),
        mel,
        bound,
        bands.first,
        *bands.tables,
        numbers(steps),
        made.table,
        state.power,
        pack.used,
        pack.hop,
    )
    if status:
        raise RuntimeError(f"MKL's transforms failed with status {status}")
