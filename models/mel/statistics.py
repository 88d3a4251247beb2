"""Statistics of a mel's levels that hardly depend on the audio: what any recording looks like.

Most cells of a mel are noise, or look like it: the level of a band in one frame differs from that
of its neighbours by an amount that physics fixes, whatever the recording and however loud. A
logarithm to another base, a power taken for a magnitude or a normalisation multiplies all
differences, which shows at any level.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.scale import LogScale

Levels = NDArray[np.float32]

# Frames that are looked at, in blocks over the clip; fewer frames or cells tell too little.
_BLOCKS, _BLOCK_FRAMES = 8, 32
MIN_FRAMES, MIN_SECONDS, MIN_CELLS = 20, 0.6, 400
# Levels within this of the least one, or of the config's floor, are a floor and no levels, dB.
# An epsilon is added and bends the levels above it too.
_FLOOR_MARGIN, _SOFT_MARGIN = 0.1, 6.0
# Bands this much below the loudest one hold nothing but leakage, dB: speech of a telephone.
_SILENT_BAND = 60.0
# Least level, and the loud level of a silent clip, dB of full scale.
_FAINTEST, _SILENT = -400.0, -95.0
# A voice of pulses whose pitch glides from 160 to 300 Hz and back, with breath: 96 frames of it.
_REFERENCE_FRAMES, _VOICE_PITCH, _VOICE_OCTAVES = 96, 160.0, math.log2(300.0 / 160.0)
_VOICE_SPEED, _VOICE_BREATH = 2.0 * math.pi * 2.5, 3e-3
# Share of a scale's offset below which its values are all alike.
_OFFSET_SHARE = 0.1
_MOST_KEPT = 1024

T = TypeVar("T")


def kept_by_kind(function: Callable[[MelConfig], T]) -> Callable[[MelConfig], T]:
    """The function with its last results, by `MelConfig.kind`: without clients' filterbanks."""
    kept: OrderedDict[Hashable, T] = OrderedDict()
    lock = threading.Lock()

    @wraps(function)
    def result(config: MelConfig) -> T:
        kind = config.kind
        with lock:
            if kind in kept:
                kept.move_to_end(kind)
                return kept[kind]
        made = function(config)
        with lock:
            kept[kind] = made
            if len(kept) > _MOST_KEPT:
                kept.popitem(last=False)
        return made

    return result


@dataclass(frozen=True, eq=False)
class LevelStatistics:
    """Statistics of the levels of a mel, floors left out."""

    roughness: float
    """Change of a band's level against its neighbour's from frame to frame, as a share of the same
    in noise: the 90th percentile of the absolute mixed difference. 0.75 to 1.8 in recordings."""
    steepness: float
    """The same as a share of what it is in a voice alone, the roughest of sounds; at most 1."""
    evenness: float
    """The same of the median, as a share of `roughness`: small where some cells are very smooth."""
    spread: float
    """From the 5th to the 99th percentile of all levels, dB."""
    median: float
    """dB of full scale."""
    loud: float
    """The 99th percentile of all levels, dB of full scale."""
    heard: float
    """Share of the cells that are above the floor."""
    above_floor: float
    """From the config's floor to the 5th percentile of all levels, dB."""
    levels: Levels
    """The levels themselves, from `sampled_levels`."""
    heard_levels: Levels
    """Levels of the bands that hold a bin of their own `[t, B]`; not a number in a floor."""
    index: NDArray[np.int64]
    """Numbers of the frames that are looked at `[t]`."""
    emphasised: bool
    """Whether leakage fills what a pre-emphasis took away: levels and roughness tell less then."""

    @property
    def is_silent(self) -> bool:
        """Whether the clip is too quiet to be judged."""
        return self.loud < _SILENT


def sampled_frames(frames: int) -> NDArray[np.int64]:
    """Numbers of the frames that are looked at: all, or blocks spread over the clip.

    Parameters
    ----------
    frames
        Frames `T` of the clip.
    """
    if frames <= _BLOCKS * _BLOCK_FRAMES:
        return np.arange(frames)
    starts = np.linspace(0, frames - _BLOCK_FRAMES, _BLOCKS).astype(np.int64)
    return np.asarray((starts[:, None] + np.arange(_BLOCK_FRAMES)).ravel())


def level_statistics(config: MelConfig, values: NDArray[np.float32]) -> LevelStatistics | None:
    """The statistics of stored values; None for too few levels above the floor.

    Parameters
    ----------
    config
        The config that the values are said to be of.
    values
        Stored values `[T, K]`.
    """
    frames = len(values)
    if frames < MIN_FRAMES or frames * config.hop_length < MIN_SECONDS * config.sample_rate:
        return None
    index = sampled_frames(frames)
    sampled = levels_of(config, values[index])
    live, floor = _live_bands(config), floor_levels(config)[1]
    levels = sampled if live.all() else sampled[:, live]
    margin = _SOFT_MARGIN if config.magnitude_eps else _FLOOR_MARGIN
    heard = levels > max(float(levels.min()) + _FLOOR_MARGIN, floor + margin)
    loud = np.where(heard, levels, _FAINTEST).max(axis=0, initial=_FAINTEST)
    inside = loud > loud.max(initial=_FAINTEST) - _SILENT_BAND
    heard &= inside
    # Neighbours of another block are no neighbours.
    following = np.diff(index) == 1
    change = np.abs(np.diff(np.diff(levels, axis=0), axis=1))
    quads = heard[1:, 1:] & heard[:-1, 1:] & heard[1:, :-1] & heard[:-1, :-1]
    changes = change[quads & following[:, None]]
    if changes.size < MIN_CELLS:
        return None
    median_change, rough_change = quantiles(changes, 0.5, 0.9)
    low, median, high = quantiles(levels[heard], 0.05, 0.5, 0.99)
    reference = _references(config)
    roughness = rough_change / reference.noise
    return LevelStatistics(
        roughness=roughness,
        steepness=rough_change / max(reference.voice, reference.noise),
        evenness=median_change / reference.noise_median / max(roughness, 1e-9),
        spread=high - low,
        median=median,
        loud=high,
        heard=np.count_nonzero(heard) / (len(heard) * np.count_nonzero(inside)),
        above_floor=low - floor,
        levels=sampled,
        heard_levels=np.where(heard, levels, np.float32(np.nan)),
        index=index,
        emphasised=config.preemphasis > 0.0,
    )


def quantiles(values: Levels, *shares: float) -> list[float]:
    """`np.quantile` to the bit; one sort is faster than its partition.

    Parameters
    ----------
    values
        Levels `[n]`, at least one.
    *shares
        Shares of the values, 0 to 1.
    """
    values = np.sort(values)
    found = []
    for share in shares:
        at = (len(values) - 1) * share
        below = min(int(at), len(values) - 1)
        low, high = values[below], values[min(below + 1, len(values) - 1)]
        step, part = float(high - low), at - below
        near = float(low) + step * part if part < 0.5 else float(high) - step * (1.0 - part)
        found.append(near)
    return found


def sampled_levels(config: MelConfig, values: NDArray[np.float32]) -> Levels:
    """Levels `[t, K]` of the frames that are looked at; parameters as of `levels_of`."""
    return levels_of(config, values[sampled_frames(len(values))])


def levels_of(config: MelConfig, values: NDArray[np.float32]) -> Levels:
    """Levels of stored values, dB of the loudest that a bounded signal has.

    Parameters
    ----------
    config
        The config that the values are said to be of.
    values
        Stored values `[T, K]`.
    """
    linear = config.decompress(torch.tensor(values, dtype=torch.float64)).numpy()
    return _decibels(config, linear / full_scale_level(config)).astype(np.float32)


@kept_by_kind
def floor_levels(config: MelConfig) -> tuple[float, float]:
    """Least and greatest level of silence over the bands, dB of full scale; -400 for none.

    Values of a scale with an offset tell nothing of what is far below it: that is its floor.
    """
    scale, bands = config.scale, filterbank(config).sum(axis=1)[_live_bands(config)]
    quiet = math.hypot(config.magnitude_floor, config.magnitude_eps**0.5) ** config.power
    least = max(scale.clamp_level(0.0, config.power), _OFFSET_SHARE * offset_of(config))
    floors = _decibels(config, np.maximum(quiet * bands, least) / full_scale_level(config))
    return float(floors.min(initial=0.0)), float(floors.max(initial=_FAINTEST))


def offset_of(config: MelConfig) -> float:
    """Offset that the scale adds to the linear mel before its logarithm; 0 for none."""
    return config.scale.offset if isinstance(config.scale, LogScale) else 0.0


def _decibels(config: MelConfig, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    least, most = (10.0 ** (level * config.power / 20.0) for level in (_FAINTEST, -_FAINTEST))
    # torch's logarithm takes several at once, numpy's one of doubles.
    logs = torch.from_numpy(np.clip(linear, least, most)).log10().numpy()
    return np.asarray(20.0 / config.power * logs)


def full_scale_level(config: MelConfig) -> float:
    """Upper bound of the linear mel of samples within +-1, over all bands."""
    own = config.filterbank
    largest_sum = _largest_sum(config) if own is None else own.largest_sum
    return float(config.loudest_magnitude**config.power) * max(largest_sum, 1e-12)


@kept_by_kind
def full_scale_levels(config: MelConfig) -> NDArray[np.float64]:
    """The linear mel `[K]` of audio at full scale in every bin, before an emphasis.

    Levels relative to it are those of a band's audio, whatever its weights, as without a norm, and
    whatever an emphasis takes away.
    """
    turns = 2.0 * np.pi * np.arange(config.n_bins) / config.n_fft
    filtered = np.abs(1.0 - config.preemphasis * np.exp(-1j * turns))
    loudest = config.loudest_magnitude / (1.0 + config.preemphasis)
    full = filterbank(config) @ (loudest * filtered) ** config.power
    return np.asarray(np.where(full > 0, full, loudest**config.power))


@kept_by_kind
def _largest_sum(config: MelConfig) -> float:
    return float(filterbank(config).sum(axis=1).max())


@kept_by_kind
def _live_bands(config: MelConfig) -> NDArray[np.bool_]:
    """Bands `[K]` that hold a bin, and not the same bin as the band before."""
    bank = filterbank(config)
    shape = bank / np.maximum(bank.sum(axis=1, keepdims=True), 1e-30)
    other = np.abs(np.diff(shape, axis=0)).max(axis=1) > 1e-6
    return np.asarray((bank.sum(axis=1) > 0) & np.concatenate([[True], other]))


class _References(NamedTuple):
    """Absolute mixed differences of sounds in a config, dB: median, and 90th percentiles."""

    noise_median: float
    noise: float
    voice: float


@kept_by_kind
def _references(config: MelConfig) -> _References:
    noise = _noise(config)
    seconds = np.arange(len(noise)) / config.sample_rate
    octaves = _VOICE_OCTAVES * 0.5 * (1.0 - np.cos(_VOICE_SPEED * seconds))
    turns = np.cumsum(_VOICE_PITCH * 2.0**octaves) / config.sample_rate
    voice = np.diff(np.floor(turns), prepend=0.0) + _VOICE_BREATH * noise
    median, rough = _changes(config, noise)
    return _References(median, rough, _changes(config, voice)[1])


def noise_levels(config: MelConfig) -> NDArray[np.float64]:
    """Levels `[t, B]` of noise in the bands that hold a bin of their own, dB."""
    return _levels_of_samples(config, _noise(config))


def _noise(config: MelConfig) -> NDArray[np.float64]:
    count = (_REFERENCE_FRAMES - 1) * config.hop_length + config.win_length
    return np.random.default_rng(0).standard_normal(count)


def _changes(config: MelConfig, samples: NDArray[np.float64]) -> tuple[float, float]:
    """Median and 90th percentile of the absolute mixed differences of samples `[L]`, dB."""
    levels = _levels_of_samples(config, samples)
    if levels.shape[1] < 2:
        return 1.0, 1.0
    median, rough = np.quantile(np.abs(np.diff(np.diff(levels, axis=0), axis=1)), [0.5, 0.9])
    return max(float(median), 1e-3), max(float(rough), 1e-3)


def _levels_of_samples(config: MelConfig, samples: NDArray[np.float64]) -> NDArray[np.float64]:
    length = config.win_length
    samples = samples - config.preemphasis * np.append(0.0, samples[:-1])
    rows = np.lib.stride_tricks.sliding_window_view(samples, length)[:: config.hop_length]
    magnitude = np.abs(np.fft.rfft(rows * config.window_values(), config.n_fft))
    linear = magnitude**config.power @ filterbank(config)[_live_bands(config)].T
    return _decibels(config, linear)
