"""The pitch comb and its filter on a GPU, each in one launch.

A program takes samples of one row of the signal, which belongs to one clip: places count from the
row's first sample, so that they fit 32 bits in a pack of any size.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from unmel.models.backends import base
from unmel.models.backends.base import Floats
from unmel.models.backends.cuda.launch import on

# Samples that a program takes, the same for all hops: the kernels that were proved are those that
# run, and no request waits for a compiler.
_SAMPLES = 128
_JUMP = tl.constexpr(base.JUMP)


@triton.jit
def _clip(clip_rows, row, used, hop):
    """First row of a row's clip, its frames, and its first and end sample seen from the row."""
    known = row < used  # what lies behind all clips has none
    start = tl.load(clip_rows + used + row, mask=known, other=0)
    frames = tl.load(clip_rows + 2 * used + row, mask=known, other=0)
    rows = tl.load(clip_rows + 3 * used + row, mask=known, other=0)
    first = tl.where(known, start - row, 0) * hop
    return start, frames, first.to(tl.int32), (first + rows * hop).to(tl.int32)


@triton.jit(do_not_specialize=["used", "hop", "half"])
def _filtered(signal, clip_rows, taps, out, used, hop, half, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    begin = tl.program_id(1) * block
    n = begin + tl.arange(0, block)
    here = signal + row * hop
    _, _, first, end = _clip(clip_rows, row, used, hop)
    total = tl.load(here + n, mask=n < end, other=0.0) * tl.load(taps + half)
    if (begin - half >= first) & (begin + block + half <= end):
        for k in range(1, half + 1):
            pair = tl.load(here + n - k) + tl.load(here + n + k)
            total += pair * tl.load(taps + half + k)
    else:
        for k in range(1, half + 1):
            p, q = n - k, n + k
            pair = tl.load(here + p, mask=(p >= first) & (p < end), other=0.0)
            pair += tl.load(here + q, mask=q < end, other=0.0)
            total += pair * tl.load(taps + half + k)
    tl.store(out + row * hop + n, total, mask=n < hop)


@lru_cache(maxsize=64)
def _sent(taps: bytes, device: torch.device) -> Tensor:
    """Taps on a device, for good: the copy waits, so that every stream may read them."""
    return torch.frombuffer(bytearray(taps), dtype=torch.float32).to(device)


def filtered(signal: Tensor, clip_rows: Tensor, taps: Floats, hop: int) -> Tensor:
    """`Backend.filtered` of a signal `[samples]`, a whole number of hops."""
    out = torch.empty_like(signal)
    weights = _sent(taps.tobytes(), signal.device)
    grid = len(signal) // hop, triton.cdiv(hop, _SAMPLES)
    with on(signal):
        _filtered[grid](
            signal, clip_rows, weights, out, clip_rows.shape[1], hop, len(taps) // 2, block=_SAMPLES
        )
    return out


@triton.jit
def _at(here, place, first, end, held):
    """Samples of a clip, zero outside it and where they are not `held`."""
    return tl.load(here + place, mask=held & (place >= first) & (place < end), other=0.0)


@triton.jit
def _between(here, place, way: tl.constexpr, f, first, end, held):
    """The value `f` of the way from each place to the next one in a direction, by a cubic."""
    a = _at(here, place - way, first, end, held)
    b = _at(here, place, first, end, held)
    c = _at(here, place + way, first, end, held)
    d = _at(here, place + 2 * way, first, end, held)
    bend = 2.0 * a - 5.0 * b + 4.0 * c - d
    return b + 0.5 * f * (c - a + f * (bend + f * (3.0 * (b - c) + d - a)))


@triton.jit(do_not_specialize=["used", "hop", "middle"])
def _comb(signal, band, clip_rows, periods, shares, used, hop, middle, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    start, frames, first, end = _clip(clip_rows, row, used, hop)
    last = (frames - 1).to(tl.int32)
    # The frame whose middle is a sample's last, and samples from there on; the outer ones go on.
    early = n < middle % hop
    frame = (row - start).to(tl.int32) - middle // hop - early.to(tl.int32)
    step = n - middle % hop + tl.where(early, hop, 0)
    step = tl.where((frame < 0) | (frame >= last), 0, step)
    frame = tl.minimum(tl.maximum(frame, 0), last)
    after = tl.minimum(frame + 1, last)
    weight = step.to(tl.float32) / hop
    here, there = tl.load(periods + start + frame), tl.load(periods + start + after)
    v = tl.load(shares + start + frame)
    share = v + weight * (tl.load(shares + start + after) - v)
    apart = tl.maximum(here, there) > tl.minimum(here, there) * _JUMP
    nearer = tl.where(2 * step < hop, here, there)
    lag = tl.where(apart, nearer, here + weight * (there - here))
    whole = tl.floor(lag)
    f, away = lag - whole, whole.to(tl.int32)
    changed = (n < hop) & (share != 0.0)
    samples, own = band + row * hop, signal + row * hop + n
    near = _between(samples, n - away, -1, f, first, end, changed)
    near += _between(samples, n + away, 1, f, first, end, changed)
    more = share * (0.5 * near - tl.load(samples + n, mask=changed, other=0.0))
    tl.store(own, tl.load(own, mask=changed, other=0.0) + more, mask=changed)


def comb(
    signal: Tensor,
    band: Tensor,
    clip_rows: Tensor,
    periods: Tensor,
    shares: Tensor,
    hop: int,
    middle: int,
) -> None:
    """`Backend.comb` in place, `middle` samples from a frame's first to its middle."""
    used = clip_rows.shape[1]
    with on(signal):
        _comb[used, triton.cdiv(hop, _SAMPLES)](
            signal, band, clip_rows, periods, shares, used, hop, middle, block=_SAMPLES
        )
