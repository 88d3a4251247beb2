"""Frames of a signal, and a signal of frames, on a GPU."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from unmel.models.backends.cuda.launch import on

# Numbers that differ from pack to pack must not be compiled in, as Triton else does with those that
# are 1 or multiples of 16.
_MOST = 2048  # places that a program takes
_COLUMNS = 1024  # of them at most so many of a row, and as many rows as that leaves room for


def _tile(width: int) -> tuple[int, int]:
    """Rows and columns of a program, for rows of a width."""
    columns = min(int(triton.next_power_of_2(width)), _COLUMNS)
    return _MOST // columns, columns


@triton.jit(do_not_specialize=["first", "hop", "win", "width", "rows"])
def _frame(
    signal,
    window,
    frames,
    counter,
    first,
    hop,
    win,
    width,
    rows,
    some_rows: tl.constexpr,
    columns: tl.constexpr,
):
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(counter, tl.load(counter) + 1)
    row = (tl.program_id(0) * some_rows + tl.arange(0, some_rows)).to(tl.int64)[:, None]
    n = (tl.program_id(1) * columns + tl.arange(0, columns))[None, :]
    held = (n < win) & (row < rows)
    samples = tl.load(signal + (first + row) * hop + n, mask=held, other=0.0)
    weights = tl.load(window + n, mask=n < win, other=0.0)
    tl.store(frames + row * width + n, samples * weights, mask=(n < width) & (row < rows))


def frame(
    signal: Tensor, window: Tensor, frames: Tensor, first: int, hop: int, counter: Tensor
) -> None:
    """Windowed frames `[T, n_fft]` of a signal `[samples]`; one is added to a counter `[1]`."""
    rows, width = frames.shape
    some_rows, columns = _tile(width)
    with on(signal):
        _frame[triton.cdiv(rows, some_rows), triton.cdiv(width, columns)](
            signal,
            window,
            frames,
            counter,
            first,
            hop,
            len(window),
            width,
            rows,
            some_rows=some_rows,
            columns=columns,
        )


@triton.jit(do_not_specialize=["hop", "win", "width", "rows", "overlap"])
def _overlap_add(
    frames,
    window,
    scale,
    signal,
    hop,
    win,
    width,
    rows,
    overlap,
    level,
    some_rows: tl.constexpr,
    columns: tl.constexpr,
):
    j = (tl.program_id(0) * some_rows + tl.arange(0, some_rows)).to(tl.int64)[:, None]
    n = (tl.program_id(1) * columns + tl.arange(0, columns))[None, :]
    real = (n < hop) & (j < rows)
    total = tl.full([some_rows, columns], 0.0, tl.float32)
    for step in range(overlap):
        r = overlap - 1 - step
        at = r * hop + n
        within = (n < hop) & (at < win)
        held = real & within & (j >= r)
        piece = tl.load(frames + (j - r) * width + at, mask=held, other=0.0)
        total += piece * tl.load(window + at, mask=within, other=0.0)
    factor = tl.load(scale + j * hop + n, mask=real, other=0.0)
    tl.store(signal + j * hop + n, total * factor * level, mask=real)


def overlap_add(
    frames: Tensor,
    window: Tensor,
    overlap: int,
    scale: Tensor,
    signal: Tensor,
    hop: int,
    level: float = 1.0,
) -> None:
    """Window, overlap-add and scale all frames `[T, n_fft]` of a pack, and all by `level`.

    Each sample's sum runs from its earliest frame to its latest.
    """
    rows, width = frames.shape
    some_rows, columns = _tile(hop)
    with on(signal):
        _overlap_add[triton.cdiv(rows, some_rows), triton.cdiv(hop, columns)](
            frames,
            window,
            scale,
            signal,
            hop,
            len(window),
            width,
            rows,
            overlap,
            level,
            some_rows=some_rows,
            columns=columns,
        )


@triton.jit(do_not_specialize=["count"])
def _move(signal, targets, values, sources, count, block: tl.constexpr, gathered: tl.constexpr):
    n = tl.program_id(0) * block + tl.arange(0, block)
    here = n < count
    to = tl.load(targets + n, mask=here, other=0)
    came = tl.load(sources + n, mask=here, other=0) if gathered else n
    tl.store(signal + to, tl.load(values + came, mask=here, other=0.0), mask=here)


def move(signal: Tensor, targets: Tensor, sources: Tensor) -> None:
    """Copy samples within a signal, none of them from where another goes."""
    _moved(signal, targets, signal, sources, gathered=True)


def put(signal: Tensor, places: Tensor, values: Tensor) -> None:
    """Put values `[count]` into a signal at places of their own."""
    _moved(signal, places, values, places, gathered=False)


def _moved(
    signal: Tensor, targets: Tensor, values: Tensor, sources: Tensor, *, gathered: bool
) -> None:
    count = len(targets)
    if count:
        with on(signal):
            _move[(triton.cdiv(count, _MOST),)](
                signal, targets, values, sources, count, block=_MOST, gathered=gathered
            )
