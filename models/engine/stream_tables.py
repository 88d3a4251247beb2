"""Tables of a step of streams' windows: their input, and where in the pack each part stands.

The tables are made of all windows in one pass and sent to the device by one copy, so that a step
has as many operations there for any number of windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.methods.start.random_phases import keys_of
from unmel.models.signal.pack_tables import ranges
from unmel.models.signal.transfer import upload
from unmel.models.signal.windows import Span, Windows


@dataclass(frozen=True, eq=False)
class WindowState:
    """State of a window between two steps, on the plan's device, in memory of its own.

    A part of a pack's tensors would do as well, and keep those of all its windows until every one
    of their streams has gone on.
    """

    samples: Tensor
    """Settled hops, and behind them overlap-added frames not yet divided by the envelope
    `[hops, hop_length]`."""
    momentum: Tensor
    """The iteration's state of the frames of the last step `[T, W, 2]`."""
    hops: int
    frames: int
    gain: float
    """Divisor of all of them."""


class Frame(NamedTuple):
    """A frame at the client's level, on the host."""

    mel: NDArray[np.floating]
    """Linear mel `[K]`."""
    bound: NDArray[np.bool_]
    """`[K]`, as in `Target`."""
    loudest: float


@dataclass(frozen=True, eq=False)
class StreamWindow:
    """Input of one window's step."""

    span: Span
    frames: Sequence[Frame]
    scale: float
    """Divisor of the frames in this step, a power of two."""
    gain: float
    """Divisor of the samples in this step."""
    seed: int
    origin: int
    """Number of the first frame in the stream."""
    state: WindowState | None
    """None before the first step."""
    given: slice
    """Samples of the window that the step settles."""
    dropped: int
    """Hops and frames at its beginning that the next window does not have."""
    settled: int
    """Hops behind them that the next window holds; none where there is no next one."""


class Tables(NamedTuple):
    """Tables of a step, on the device; rows are the pack's."""

    apart: bool
    """Whether at most one frame enters each window."""
    mel: Tensor
    """`[rows, K]` at the client's level, zero between the windows."""
    bound: Tensor
    """Bool `[rows, K]`."""
    keys: Tensor
    """`[E, 2]`: keys of the seed's phases of the frames that enter, those without momentum."""
    hops: Tensor
    """Rows of the last states' hops, window after window."""
    frames: Tensor
    """Rows of their frames."""
    entering: Tensor
    """Rows of the frames that enter `[E]`."""
    settled: Tensor
    """Rows of the hops that the next windows hold."""
    given: Tensor
    """Rows that hold the samples to give."""
    level: Tensor
    """Factor of each row's mel `[rows]`."""
    louder_hops: Tensor
    """Factor of each of the last states' hops, for their new gain."""
    louder_frames: Tensor
    """Factor of each of their frames."""
    gain: Tensor
    """Factor of each row of `given`."""


def make_tables(pack: Windows, windows: Sequence[StreamWindow]) -> Tables:
    """The tables of a pack, by one copy.

    Parameters
    ----------
    pack
        The windows' pack.
    windows
        Its windows.
    """
    found, factors, gaps, keyed = [], [], [], []
    for window, (start, frames, rows) in zip(windows, pack.extents, strict=True):
        state = window.state
        hops, known, gain = (state.hops, state.frames, state.gain) if state else (0, 0, 1.0)
        first, count = _given_rows(pack, window, rows)
        # First rows and numbers of rows, in the order of `Tables`.
        firsts = start, start, start + known, start + window.dropped, start + first
        found.append((*firsts, hops, known, frames - known, window.settled, count, rows))
        louder = gain / window.gain
        factors.append((1.0 / window.scale, louder, louder, window.gain))
        gaps.append(rows - frames)
        keyed.append(range(window.origin + known, window.origin + frames))
    numbers = np.array(found).T
    lengths = numbers[5:10]
    places = ranges(numbers[:5].ravel(), lengths.ravel())
    repeats = numbers[[10, 5, 6, 9]]
    mel, bound = _laid_out(windows, gaps)
    tables = [
        mel,
        bound,
        keys_of([window.seed for window in windows], keyed),
        places,
        np.repeat(np.array(factors, mel.dtype).T.ravel(), repeats.ravel()),
    ]
    sent = upload([torch.from_numpy(table) for table in tables], pack.plan.device)
    return Tables(
        bool((lengths[2] <= 1).all()),
        *sent[:3],
        *torch.split_with_sizes(sent[3], lengths.sum(axis=1).tolist()),
        *torch.split_with_sizes(sent[4], repeats.sum(axis=1).tolist()),
    )


def _laid_out(
    windows: Sequence[StreamWindow], gaps: Sequence[int]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Mel and bound `[rows, K]` of a pack's rows, zero in the gaps behind the windows."""
    mel: list[NDArray[np.floating]] = []
    bound: list[NDArray[np.bool_]] = []
    none = windows[0].frames[0]
    silent, free = np.zeros_like(none.mel), np.zeros_like(none.bound)
    for window, gap in zip(windows, gaps, strict=True):
        mel += [frame.mel for frame in window.frames] + [silent] * gap
        bound += [frame.bound for frame in window.frames] + [free] * gap
    return (
        np.concatenate(mel).reshape(-1, len(silent)),
        np.concatenate(bound).reshape(-1, len(free)),
    )


def _given_rows(pack: Windows, window: StreamWindow, rows: int) -> tuple[int, int]:
    """First of a window's rows that hold the samples to give, and their number."""
    given = window.given
    first, end = given.start // pack.hop, min(-(-given.stop // pack.hop), rows)
    return first, max(end - first, 0)


def cut(
    found: NDArray[np.float32], pack: Windows, windows: Sequence[StreamWindow]
) -> Iterator[NDArray[np.float32]]:
    """Each window's samples, of the rows `[R, hop]` of `Tables.given`."""
    at = 0
    for window, (_, _, rows) in zip(windows, pack.extents, strict=True):
        first, count = _given_rows(pack, window, rows)
        own = found[at : at + count].reshape(-1)
        before = first * pack.hop
        yield own[window.given.start - before : window.given.stop - before]
        at += count
