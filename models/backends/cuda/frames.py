"""Frames of a signal, and a signal of frames, on a GPU."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from unmel.models.backends.cuda.launch import on

# Numbers that differ from pack to pack must not be compiled in, as Triton else does with those that
# are 1 or multiples of 16.
_MOST = 1024  # columns that a program takes


def _block(width: int) -> int:
    return min(int(triton.next_power_of_2(width)), _MOST)


@triton.jit(do_not_specialize=["first", "hop", "win", "width"])
def _frame(signal, window, frames, first, hop, win, width, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    held = n < win
    samples = tl.load(signal + (first + row) * hop + n, mask=held, other=0.0)
    weights = tl.load(window + n, mask=held, other=0.0)
    tl.store(frames + row * width + n, samples * weights, mask=n < width)


def frame(signal: Tensor, window: Tensor, frames: Tensor, first: int, hop: int) -> None:
    """Windowed frames `[T, n_fft]` of a signal `[samples]`."""
    rows, width = frames.shape
    block = _block(width)
    with on(signal):
        _frame[rows, triton.cdiv(width, block)](
            signal, window, frames, first, hop, len(window), width, block=block
        )


@triton.jit(do_not_specialize=["hop", "win", "width", "rows", "overlap"])
def _overlap_add(
    frames, window, scale, signal, hop, win, width, rows, overlap, block: tl.constexpr
):
    j = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    total = tl.full([block], 0.0, tl.float32)
    for step in range(overlap):
        r = overlap - 1 - step
        at = r * hop + n
        place = (j - r) * width + at  # negative before the first frame
        held = (n < hop) & (at < win) & (place >= 0)
        piece = tl.load(frames + place, mask=held, other=0.0)
        total += piece * tl.load(window + at, mask=held, other=0.0)
    factor = tl.load(scale + j * hop + n, mask=n < hop, other=0.0)
    tl.store(signal + j * hop + n, total * factor, mask=n < hop)


def overlap_add(
    frames: Tensor,
    window: Tensor,
    overlap: int,
    scale: Tensor,
    signal: Tensor,
    hop: int,
) -> None:
    """Window, overlap-add and scale all frames `[T, n_fft]` of a pack.

    Each sample's sum runs from its earliest frame to its latest.
    """
    rows, width = frames.shape
    block = _block(hop)
    with on(signal):
        _overlap_add[rows, triton.cdiv(hop, block)](
            frames, window, scale, signal, hop, len(window), width, rows, overlap, block=block
        )


@triton.jit(do_not_specialize=["count"])
def _move(signal, targets, sources, count, block: tl.constexpr):
    n = tl.program_id(0) * block + tl.arange(0, block)
    here = n < count
    to = tl.load(targets + n, mask=here, other=0)
    came = tl.load(sources + n, mask=here, other=0)
    tl.store(signal + to, tl.load(signal + came, mask=here, other=0.0), mask=here)


def move(signal: Tensor, targets: Tensor, sources: Tensor) -> None:
    """Copy samples within a signal, none of them from where another goes."""
    count = len(targets)
    if count:
        with on(signal):
            _move[(triton.cdiv(count, _MOST),)](signal, targets, sources, count, block=_MOST)
