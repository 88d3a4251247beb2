"""Random phases: of 65,536 directions the one that seed, frame and bin alone decide.

The host makes a key of 64 bits for each frame, a backend the directions of its bins. So no phases
are copied to a device, and a clip's are the same on every device, alone, in a pack, in a block of
a longer clip and in a stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.signal.pack_tables import ranges
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.transfer import upload

_DIRECTIONS = 2**16

# SplitMix64 (Steele, Lea and Flood 2014): 2^64 over the golden ratio, and a mixer of Stafford's.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB))

Counters = NDArray[np.uint64]


def random_phases(pack: PackedStft, magnitude: Tensor, seeds: Sequence[int], turn: float) -> Tensor:
    """Random phases: one of 65,536 directions on `turn` of the circle, from the clip's seed.

    They are made on the device; a seed means the same on every one.
    """
    [keys] = upload([torch.from_numpy(_pack_keys(pack, seeds))], pack.plan.device)
    shape = pack.rows, pack.plan.config.n_bins
    phases = torch.empty(shape, dtype=pack.plan.dtype, device=pack.plan.device)
    pack.backend.draw(keys, step_of(turn), phases)
    return phases


def step_of(turn: float) -> float:
    """Radians, a number of float32, between the directions on `turn` of the circle."""
    return float(np.float32(2.0 * np.pi * turn / _DIRECTIONS))


def frame_keys(seed: int, frames: range) -> NDArray[np.int32]:
    """Keys of some of a clip's frames, as `Backend.draw` takes them.

    Parameters
    ----------
    seed
        Any integer; those that are the same modulo 2^64 are one.
    frames
        Numbers of the frames in the clip or stream.

    Returns
    -------
    NDArray[np.int32]
        `[T, 2]`.

    """
    return keys_of([seed], [frames])


def keys_of(seeds: Sequence[int], frames: Sequence[range]) -> NDArray[np.int32]:
    """The same of several clips, one behind the other; `frames` are those of each."""
    counts = np.array([len(numbers) for numbers in frames])
    numbers = ranges(np.array([numbers.start for numbers in frames]), counts)
    return _keys(numbers.astype(np.uint64) * _GAMMA + np.repeat(_origins(seeds), counts))


def _pack_keys(pack: PackedStft, seeds: Sequence[int]) -> NDArray[np.int32]:
    """The same of all rows of a pack; zero between the clips."""
    counters = np.zeros(pack.rows, np.uint64)
    steps = np.arange(max(frames for frames, _ in pack.clips), dtype=np.uint64) * _GAMMA
    origins = _origins(seeds) + np.array(pack.firsts, np.uint64) * _GAMMA
    for (start, frames, _), origin in zip(pack.extents, origins, strict=True):
        np.add(steps[:frames], origin, out=counters[start : start + frames])
    return _keys(counters)


def _origins(seeds: Sequence[int]) -> Counters:
    """Counters of seeds' first frames; those of their further frames are `_GAMMA` apart."""
    return _mixed(np.array([seed % 2**64 for seed in seeds], np.uint64) + _GAMMA)


def _keys(counters: Counters) -> NDArray[np.int32]:
    # The lower half first, on any machine.
    return _mixed(counters).astype("<u8", copy=False).view("<i4").reshape(-1, 2)


def _mixed(counters: Counters) -> Counters:
    """Every bit of a number of 64 bits depends on every bit of the counter; zero stays zero."""
    for shift, factor in _FACTORS:
        counters = (counters ^ (counters >> np.uint64(shift))) * factor
    return counters ^ (counters >> np.uint64(31))
