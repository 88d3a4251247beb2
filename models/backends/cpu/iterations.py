"""All iterations of a stage in one call, without returning to Python or taking the GIL.

Several iterations go through the rows together, each a block of rows behind the one before, while
the momentum of these rows is in a core's own cache: in a long clip each would fetch it from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from rocket_fft import c2r, r2c
from torch import Tensor

from unmel.models.backends.base import Floats, Lists, MelState, Pack, Places, StepCoefficients
from unmel.models.backends.cpu.frames import frame, move, overlap_add
from unmel.models.backends.cpu.loop import loop
from unmel.models.backends.cpu.mel_step import (
    LISTS,
    coefficients,
    correct_rows,
    scratch_size,
    tables,
)
from unmel.models.backends.cpu.transforms import block_rows, transforms, width

_FORWARD = True
# Floats of the samples and spectra that iterations which run together may hold, and the most of
# such iterations.
_TOGETHER, _MOST = 96 * 1024, 4
AXES = np.array([1], np.int64)
"""The axes of `[rows, points]` to transform."""


def _compute(typing: Any, address: Any, descriptor: Any, data: Any) -> Any:
    """MKL's compute function at an address; the descriptor says of what and where it writes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word], var_arg=True)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), list(args[1:]))

    return types.int64(types.int64, types.int64, types.int64), generate


_call = cast(
    Any, intrinsic(_compute)
)  # numba's stub does not know that it drops the first argument


@loop()
def _in_place(rows: Floats, way: Places) -> int:
    """Transform rows in place by MKL's function and descriptors of `Transforms.table`."""
    count, size = rows.shape[0], 4 * rows.shape[1]
    at, status = np.int64(rows.ctypes.data), 0
    for k in range(way.shape[0] - 2, -1, -1):
        while count >= 1 << k:
            status |= _call(way[0], way[1 + k], at)
            at += size << k
            count -= 1 << k
    return status


@loop("i8(f4[:, ::1], f4[:, ::1], i8, i8[:, ::1], i8[::1])")
def forward(rows: Floats, spectra: Floats, n: int, table: Places, axes: Places) -> int:
    """Spectra of rows of `n` points; MKL's replace the rows. `table` is a `Transforms.table`."""
    if table.shape[1]:
        return _in_place(rows, table[0])
    r2c(rows[:, :n], spectra.view(np.complex64)[:, : n // 2 + 1], axes, _FORWARD, 1.0, 1)
    return 0


@loop("i8(f4[:, ::1], f4[:, ::1], i8, i8[:, ::1], i8[::1])")
def backward(spectra: Floats, rows: Floats, n: int, table: Places, axes: Places) -> int:
    """Rows of `n` points from spectra, divided by `n`."""
    if table.shape[1]:
        return _in_place(spectra, table[1])
    c2r(spectra.view(np.complex64)[:, : n // 2 + 1], rows[:, :n], axes, not _FORWARD, 1.0 / n, 1)
    return 0


@loop(
    "i8(f4[::1], f4[::1], f4[:, ::1], f4[:, ::1], f4[:, :, ::1], f4[::1], f4[::1], i8[::1],"
    " i8[::1], i8[::1], i8[::1], i8[::1], f4[::1], f4[:, ::1], f4[:, :, ::1], i8, i8[::1],"
    " i8[::1], f4[::1],"
    f" i4[::1], f4[:, ::1], {LISTS}, f4[:, ::1], i8[:, ::1], i8[::1], f4[::1], f4, i8, i8, i8)"
)
def _iterate(
    signal: Floats,
    window: Floats,
    frames: Floats,
    spectra: Floats,
    carry: Floats,
    scale: Floats,
    into: Floats,
    edge_runs: Places,
    edge_to: Places,
    edge_from: Places,
    pin_runs: Places,
    pin_to: Places,
    pins: Floats,
    momentum: Floats,
    mel: Floats,
    low: int,
    begins: Places,
    offsets: Places,
    weights: Floats,
    below: NDArray[np.int32],
    shares: Floats,
    lists: Lists,
    steps: Floats,
    table: Places,
    axes: Places,
    space: Floats,
    power: float,
    used: int,
    hop: int,
    n: int,
) -> int:
    run, status, together = frames.shape[0], 0, carry.shape[0]
    runs = -(-used // run)
    for begin in range(0, steps.shape[0], together):
        count = min(together, steps.shape[0] - begin)
        carry[:] = np.float32(0.0)
        for wave in range(runs + count - 1):
            for k in range(max(0, wave - runs + 1), min(count, wave + 1)):
                at = wave - k  # the previous iteration is one run ahead
                first = at * run
                rows = min(run, used - first)
                whole = -(-rows // 8) * 8
                frame(signal, window, frames[:rows], first, hop)
                status |= forward(frames[:rows], spectra[:rows], n, table, axes)
                correct_rows(
                    spectra[:whole],
                    momentum,
                    mel,
                    first,
                    low,
                    begins,
                    offsets,
                    weights,
                    below,
                    shares,
                    lists,
                    steps[begin + k],
                    power,
                    space,
                )
                status |= backward(spectra[:rows], frames[:rows], n, table, axes)
                overlap_add(frames[:rows], window, carry[k], scale, into, first, hop)
                for m in range(pin_runs[at], pin_runs[at + 1]):
                    signal[pin_to[m]] = pins[m]
                edges = slice(edge_runs[at], edge_runs[at + 1])
                move(signal, edge_to[edges], edge_from[edges])
    return status


def _by_run(places: Places, run: int, end: int) -> tuple[Places, Places | slice]:
    """Offsets of each run's places, and the order that sorts them by run."""
    count = -(-end // run)
    if count == 1 or not places.size:  # as in a stream's step
        return np.minimum(np.arange(count + 1), 1) * places.size, slice(None)
    runs = np.minimum(places // run, count - 1)
    order = np.argsort(runs, kind="stable")
    return np.searchsorted(runs[order], np.arange(count + 1)), order


def iterate(
    pack: Pack, state: MelState, steps: Sequence[StepCoefficients], into: Tensor | None
) -> None:
    """`Backend.run_stage`. RuntimeError if a transform fails."""
    if len(state.kept) < -(-pack.used // 8) * 8 or state.kept.shape[1] % 8:
        raise ValueError(f"the state must be of whole eights, got {tuple(state.kept.shape)}")
    made, bands, hop = transforms(pack.n_fft), state.bands, pack.hop
    edge_to, edge_from = (edge.numpy() for edge in pack.edges)
    pin_to, pins = (pin.numpy() for pin in pack.pins)
    scale = pack.inverse_envelope.numpy()
    run, samples = block_rows(made.n), pack.used * hop
    frames = np.zeros((run, width(made.n)), np.float32)
    # A run's edges are restored once all that they copy is there.
    edge_runs, order = _by_run(np.maximum(edge_to, edge_from), run * hop, samples)
    pin_runs, pin_order = _by_run(pin_to, run * hop, samples)
    furthest = int(np.abs(edge_to - edge_from).max(initial=0)) // hop + 2
    ahead = len(pack.carry)
    together = _TOGETHER // (run * (width(made.n) + hop)) if run >= ahead + furthest + 1 else 1
    carry = np.empty((max(min(together, _MOST, len(steps)), 1), ahead, hop), np.float32)
    status = _iterate(
        pack.signal.numpy(),
        pack.window.numpy(),
        frames,
        frames if made.in_place else np.zeros_like(frames),
        carry,
        scale if into is None else np.ones_like(scale),
        (pack.signal if into is None else into).numpy(),
        edge_runs,
        edge_to[order],
        edge_from[order],
        pin_runs,
        pin_to[pin_order],
        pins[pin_order],
        state.kept.numpy().view(np.float32),
        state.target.prepared,
        bands.first,
        *tables(bands),
        coefficients(tuple(steps)),
        made.table,
        AXES,
        np.zeros(scratch_size(bands.count, len(bands.tables[0])), np.float32),
        state.power,
        pack.used,
        hop,
        made.n,
    )
    check_status(status)


def check_status(status: int) -> None:
    """RuntimeError if a transform failed."""
    if status:
        raise RuntimeError(f"MKL's transforms failed with status {status}")
