"""Tables of a pack: its window envelope, and the gather that repeats the extractor's padding.

They are as long as the pack's rows and its clips' edges, not as its samples, and are made of all
clips at once. The envelope is spread from them on the device; its values are rounded once, so that
they are the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig

Extent = tuple[int, int, int]
Whole = NDArray[np.int64]


def reflect(position: Whole, length: int | Whole) -> Whole:
    """Indices into `[0, length)` of positions outside it, mirrored as often as needed."""
    last = np.asarray(length) - 1
    period = np.maximum(2 * last, 1)  # a single sample is its own mirror
    folded = np.abs(position)
    if (folded >= period).any():
        folded %= period
    return np.asarray(last - np.abs(folded - last), np.int64)


def extents(config: MelConfig, clips: Sequence[tuple[int, int]]) -> list[Extent]:
    """First row, frames and rows of each clip, of its frames and samples."""
    found, used = [], 0
    for frames, samples in clips:
        rows = config.rows(frames, samples)
        found.append((used, frames, rows))
        used += rows
    return found


def ranges(first: Whole, lengths: Whole, step: int | Whole = 1) -> Whole:
    """Whole numbers from each `first` on, `lengths` of each, one range after the other."""
    before = np.cumsum(lengths) - lengths
    steps = np.repeat(step, lengths) if isinstance(step, np.ndarray) else step
    return np.repeat(first - step * before, lengths) + steps * np.arange(lengths.sum())


def envelope_hops(config: MelConfig, frames: int, rows: int | None = None) -> NDArray[np.float64]:
    """Inverse window envelope of so many frames `[rows, hop_length]`.

    Without `rows` it is of all that the frames reach, `frames + overlap - 1` hops.

    Between the first frames and the last every hop is like the next: as many frames as overlap have
    all hops that more frames have.
    """
    steps = config.squared_window()
    envelope = np.zeros((rows or frames + config.overlap - 1, config.hop_length))
    for r, step in enumerate(steps):
        envelope[r : r + frames] += step
    return np.asarray(1.0 / np.maximum(envelope, config.envelope_floor()))


def hop_table(config: MelConfig) -> NDArray[np.float64]:
    """The hops `[2 overlap, hop_length]` of all but short clips' inverse envelopes; zeros first."""
    hops = envelope_hops(config, config.overlap)
    return np.concatenate([np.zeros((1, config.hop_length)), hops])


def short_hops(config: MelConfig, frames: Whole) -> NDArray[np.float64] | None:
    """The hops of clips with fewer frames than overlap, to follow `hop_table`'s; None for none."""
    sizes = _short(config.overlap, frames)
    return np.concatenate([envelope_hops(config, few) for few in sizes]) if sizes else None


def _short(overlap: int, frames: Whole) -> list[int]:
    """The different numbers of frames below `overlap`."""
    return sorted(set(frames[frames < overlap].tolist()))


def hop_index(overlap: int, frames: Whole, rows: Whole) -> Whole:
    """Which row of `hop_table`, with `short_hops` behind it, each row of a pack has `[used]`.

    Parameters
    ----------
    overlap
        Frames that share a sample.
    frames
        Frames of each clip `[clips]`.
    rows
        Rows of each clip `[clips]`, the gap included.

    """
    few, ahead, none = np.minimum(frames, overlap), overlap - 1, np.zeros_like(frames)
    begin, count = none + 1, 2 * overlap
    for size in _short(overlap, frames):
        begin[frames == size] = count
        count += size + ahead
    # Of each clip those up to the last of its first frames, that one again up to its last frame,
    # those behind it, and the zeros of the gap.
    first = np.array([begin, begin + few - 1, begin + few, none])
    parts = np.array([few, frames - few, none + ahead, rows - frames - ahead])
    return ranges(first.T.ravel(), parts.T.ravel(), np.array([1, 0, 1, 0] * len(few)))


class Beyond(NamedTuple):
    """Samples of a pack that lie within its clips' windows and beyond the clips."""

    places: Whole
    """Before each clip's first sample and behind its last one, clip by clip."""
    counts: Whole
    """How many of them are each clip's `[clips]`."""


def beyond(config: MelConfig, origin: Whole, samples: Whole, end: Whole) -> Beyond:
    """What lies beyond the clips.

    Parameters
    ----------
    config
        The clips' config.
    origin
        Sample `[clips]` of the pack with which each clip's first window begins.
    samples
        Samples `[clips]` of each clip.
    end
        Samples `[clips]` from there on that are looked at.

    """
    behind = config.lead + samples
    lengths = np.array([np.minimum(config.first, end), np.maximum(end - behind, 0)])
    first = np.array([origin, origin + behind])
    return Beyond(ranges(first.T.ravel(), lengths.T.ravel()), lengths[0] + lengths[1])


def edge_gather(
    config: MelConfig, origin: Whole, samples: Whole, outside: Beyond
) -> tuple[Whole, Whole]:
    """Samples beyond the clips' edges, and those that the extractor's padding repeats there."""
    if not config.reflects:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    own = np.repeat(origin + config.lead, outside.counts)
    within = reflect(outside.places - own, np.repeat(samples, outside.counts))
    return outside.places, own + within
