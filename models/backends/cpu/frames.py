"""Frames of a signal, and a signal of frames."""

from __future__ import annotations

import numpy as np

from unmel.models.backends.base import Floats, Places
from unmel.models.backends.cpu.loop import loop
from unmel.models.backends.cpu.vectors import fill, fused, load, store

_ZERO = np.float32(0.0)


@loop("void(f4[::1], f4[::1], f4[:, ::1], i8, i8)")
def frame(signal: Floats, window: Floats, frames: Floats, first: int, hop: int) -> None:
    """Windowed frames of a signal, from frame `first` on."""
    length, width = window.shape[0], frames.shape[1]
    for row in range(frames.shape[0]):
        begin = (first + row) * hop
        samples = signal[begin : begin + length]
        out = frames[row, :length]
        for n in range(length):
            out[n] = samples[n] * window[n]
        frames[row, length:width] = _ZERO


@loop("void(f4[:, ::1], f4[::1], f4[:, ::1], f4[::1], f4[::1], i8, i8)")
def overlap_add(
    frames: Floats,
    window: Floats,
    carry: Floats,
    scale: Floats,
    signal: Floats,
    first: int,
    hop: int,
) -> None:
    """Window and overlap-add frames from `first` on.

    Hops that no later frame reaches are scaled and written; the others wait in `carry`.
    """
    rows, width, length = frames.shape[0], frames.shape[1], window.shape[0]
    ahead = carry.shape[0]
    last = length - ahead * hop  # samples of a frame in the last hop that it reaches
    flat, waiting = frames.reshape(frames.size), carry.reshape(carry.size)
    # Each sample's sum runs from the earliest frame to the latest, whatever the blocks.
    for j in range(rows + ahead):
        begin = (first + j) * hop
        furthest, nearest = min(ahead, j), max(0, j - rows + 1)
        n = 0
        while n < hop:
            # The frame that reaches furthest may end within the hop.
            r = furthest if furthest < ahead or n < last else ahead - 1
            at, from_here = (j - r) * width + r * hop + n, r * hop + n
            if n + 8 <= hop and (n + 8 <= last or n >= last):
                total = load(waiting, j * hop + n) if j < ahead else fill(_ZERO)
                while r >= nearest:
                    total = fused(load(flat, at), load(window, from_here), total)
                    at += width - hop
                    from_here -= hop
                    r -= 1
                if j < rows:
                    store(signal, begin + n, total * load(scale, begin + n))
                else:
                    store(waiting, (j - rows) * hop + n, total)
                n += 8
                continue
            one = waiting[np.uint64(j * hop + n)] if j < ahead else _ZERO
            while r >= nearest:
                one += flat[np.uint64(at)] * window[np.uint64(from_here)]
                at += width - hop
                from_here -= hop
                r -= 1
            if j < rows:
                signal[np.uint64(begin + n)] = one * scale[np.uint64(begin + n)]
            else:
                waiting[np.uint64((j - rows) * hop + n)] = one
            n += 1


@loop("void(f4[::1], i8[::1], i8[::1])")
def move(signal: Floats, targets: Places, sources: Places) -> None:
    """Copy samples within a signal."""
    for n in range(targets.shape[0]):
        signal[targets[n]] = signal[sources[n]]
