"""Frames of a signal, and a signal of frames."""

from __future__ import annotations

import numpy as np

from unmel.models.backends.cpu.loop import Floats, Places, loop

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
def overlap_add(  # noqa: PLR0912 # a call for each hop takes as long as its sums
    frames: Floats,
    window: Floats,
    carry: Floats,
    scale: Floats,
    signal: Floats,
    first: int,
    hop: int,
) -> None:
    """Window and overlap-add frames from `first` on; hops that no later frame reaches are scaled
    and done, the others wait in `carry` `[overlap - 1, hop]`.
    """
    rows, width, length = frames.shape[0], frames.shape[1], window.shape[0]
    ahead = carry.shape[0]
    last = length - ahead * hop  # samples of a frame in the last hop that it reaches
    flat = frames.reshape(frames.size)
    total = np.empty(hop, np.float32)
    # In all of them from the earliest frame to the latest, whatever the blocks.
    for j in range(rows + ahead):
        begin = (first + j) * hop
        if 0 < ahead <= j < rows:
            # Most hops: the first sum need not be read, and the last one not kept.
            at = (j - ahead) * width + ahead * hop
            piece, part = flat[at : at + last], window[ahead * hop :]
            for n in range(last):
                total[n] = piece[n] * part[n] + _ZERO  # as a sum from zero: never -0
            for n in range(last, hop):
                total[n] = _ZERO
            for r in range(ahead - 1, 0, -1):
                at = (j - r) * width + r * hop
                piece, part = flat[at : at + hop], window[r * hop : (r + 1) * hop]
                for n in range(hop):
                    total[n] += piece[n] * part[n]
            piece, part = flat[j * width : j * width + hop], window[:hop]
            out, factor = signal[begin : begin + hop], scale[begin : begin + hop]
            for n in range(hop):
                out[n] = (total[n] + piece[n] * part[n]) * factor[n]
            continue
        if j < ahead:
            before = carry[j]
            for n in range(hop):
                total[n] = before[n]
        else:
            for n in range(hop):
                total[n] = _ZERO
        for r in range(min(ahead, j), max(-1, j - rows), -1):
            own = r * hop
            end = min(own + hop, length)
            piece, part = frames[j - r, own:end], window[own:end]
            for n in range(end - own):
                total[n] += piece[n] * part[n]
        if j < rows:
            out, factor = signal[begin : begin + hop], scale[begin : begin + hop]
            for n in range(hop):
                out[n] = total[n] * factor[n]
        else:
            after = carry[j - rows]
            for n in range(hop):
                after[n] = total[n]


@loop("void(f4[::1], i8[::1], i8[::1])")
def move(signal: Floats, targets: Places, sources: Places) -> None:
    """Copy samples within a signal."""
    for n in range(targets.shape[0]):
        signal[targets[n]] = signal[sources[n]]
