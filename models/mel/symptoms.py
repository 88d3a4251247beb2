"""Symptoms of a mel of another scale than its config's: what no recording has.

The statistics hardly depend on the audio or its level: see `statistics`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.scale import CoquiScale, DecibelScale, LinearScale, WhisperScale
from unmel.models.mel.statistics import (
    Levels,
    LevelStatistics,
    floor_levels,
    offset_of,
    sampled_frames,
)

# Bounds of what recordings of speech, music and noise have in any extractor, at any level.
# No recording is steeper than a voice alone; changes of all sizes keep a proportion. A tone is
# smooth in most cells and rough in few, and what a network blurred is smooth over a wide spread.
_STEEPEST, _STEEPEST_IF_LOUD, _LOUD = 1.15, 1.0, -18.0
_LEAST_EVENNESS, _CONSTANT = 0.6, 0.02
# The median and the loud level together: above this nothing is quiet in the clip, dB of full scale.
_LOUDEST_SUM, _LEAST_ROUGHNESS = -53.0, 0.55
# A compressed scale takes roughness and spread down together: base-2 logarithms of both, and the
# spread of an ordinary recording, dB.
_FLATTEST, _SMOOTHER, _WEAKLY_FLAT = -0.66, -0.5, -0.53
_USUAL_SPREAD, _LEAST_SPREAD, _BLURRED_SPREAD = 55.0, -0.7, 45.0
# Below both there is no audio at all, as in values within [0, 1].
_NO_SPREAD, _NO_ROUGHNESS = 20.0, 0.4
# Least share of the cells above the floor, and distance of the lowest from it in dB, for judging
# the spread, which ends at the floor in a quiet clip.
_HEARD, _CLEAR_OF_FLOOR = 0.5, 10.0
# Share of the cells at a floor, its least distance from the config's in dB, and the share below it.
_FLOOR_SHARE, _FLOOR_DISTANCE, _BELOW_SHARE, _FLOOR_EXTENT = 0.01, 6.0, 0.02, 4
# Largest mean, and deviation from 1, of a clip or a band normalised by its own moments.
_EXACT, _EXACT_BAND = 0.003, 0.02
# Values beyond a scale's bounds by this factor are no overshoot of a network.
_OVERSHOOT = 1.1


def symptom_of(
    config: MelConfig, values: NDArray[np.float32], statistics: LevelStatistics
) -> str | None:
    """A feature that no recording has in this config, in a few words; None if there is none."""
    if _is_normalised(config, values):
        return "their mean is 0 and their standard deviation 1"
    if _is_integer(values):
        return "all are whole numbers, as in an image of 8 bits"
    return (
        distortion_of(statistics)
        or wrong_range(config, values)
        or other_floor(config, statistics.levels)
    )


def distortion_of(statistics: LevelStatistics, *, weak: bool = False) -> str | None:
    """A symptom in the statistics, or None; `weak` admits what a blurred mel may have too."""
    rough, steep, loud = statistics.roughness, statistics.steepness, statistics.loud
    even = statistics.evenness > _LEAST_EVENNESS and not statistics.emphasised
    if even and steep > (_STEEPEST_IF_LOUD if loud > _LOUD else _STEEPEST):
        return f"levels change {rough:.1f} times as much from band to band as those of noise"
    if even and rough > _LEAST_ROUGHNESS and statistics.median + loud > _LOUDEST_SUM:
        return f"half of them lie above {statistics.median:.0f} dB of full scale: nothing is quiet"
    if _is_flat(statistics, weak=weak):
        return (
            f"levels lie within {statistics.spread:.0f} dB and change {rough:.2g} times as much "
            "from band to band as those of noise"
        )
    return None


def wrong_range(config: MelConfig, values: NDArray[np.float32]) -> str | None:
    """Values beyond what the scale clips to, by more than a network overshoots; None if none is."""
    scale = config.scale
    if isinstance(scale, CoquiScale):
        plain = values * config.std + config.mean
        widest, seen = 2.0 * scale.max_norm, 2.0 * float(np.abs(plain).max())
    elif isinstance(scale, WhisperScale):
        widest, seen = 2.0, float(np.ptp(values * config.std + config.mean))
    elif isinstance(scale, DecibelScale) and scale.top_db is not None:
        widest, seen = scale.top_db, float(np.ptp(values * config.std + config.mean))
    else:
        return None
    if seen <= _OVERSHOOT * widest:
        return None
    return f"they span {seen:.3g} where this scale has {widest:.3g}"


def _is_flat(statistics: LevelStatistics, *, weak: bool) -> bool:
    """Whether levels are compressed: small differences, large and small ones alike."""
    if statistics.heard < _HEARD or statistics.above_floor < _CLEAR_OF_FLOOR:
        return False
    if statistics.roughness < _CONSTANT:
        return False
    if statistics.roughness < _NO_ROUGHNESS and statistics.spread < _NO_SPREAD:
        return True
    rough = math.log2(statistics.roughness)
    spread = math.log2(max(statistics.spread, 1e-3) / _USUAL_SPREAD)
    if statistics.evenness < _LEAST_EVENNESS:
        return False
    if statistics.spread > _BLURRED_SPREAD if weak else rough - spread < _SMOOTHER:
        return False
    return rough + 0.35 * max(spread, _LEAST_SPREAD) < (_WEAKLY_FLAT if weak else _FLATTEST)


def _is_normalised(config: MelConfig, values: NDArray[np.float32]) -> bool:
    """Whether the clip's own mean and deviation were taken away, of each band or of all."""
    if config.mean != 0.0 or config.std != 1.0:
        return False
    if abs(float(values.mean())) < _EXACT and abs(float(values.std()) - 1.0) < _EXACT:
        return True
    central = np.abs(values.mean(axis=0)) < _EXACT_BAND
    if not (central.sum() > 0.9 * len(central) and len(central) > 1):
        return False
    normal = central & (np.abs(values.std(axis=0) - 1.0) < _EXACT_BAND)
    return bool(normal.sum() > 0.9 * len(normal))


def _is_integer(values: NDArray[np.float32]) -> bool:
    """Whether all values are whole numbers of 0 to 255, and many different ones."""
    if values.min() < 0 or values.max() > 255:
        return False
    part = values[sampled_frames(len(values))]
    return bool((part == np.rint(part)).all() and len(np.unique(part)) > 16)


def other_floor(config: MelConfig, levels: Levels) -> str | None:
    """A floor of levels `[t, K]` that is not the config's, or levels below its own."""
    scale = config.scale
    relative = isinstance(scale, WhisperScale) or (
        isinstance(scale, DecibelScale) and scale.top_db is not None
    )
    if relative or isinstance(scale, LinearScale) or offset_of(config):
        return None
    lowest, highest = floor_levels(config)
    least = float(levels.min())
    deep = np.float32(lowest - _FLOOR_DISTANCE)
    if least < deep and (levels < deep).mean() > _BELOW_SHARE:
        return "they go below the value of silence"
    if least <= highest + _FLOOR_DISTANCE:
        return None
    at_least = levels <= least
    # A steady sound repeats its frames: a floor is in many bands, and in frames of its own.
    spread = min(int(at_least.any(axis=0).sum()), int(at_least.any(axis=1).sum()))
    if at_least.mean() > _FLOOR_SHARE and spread >= _FLOOR_EXTENT:
        return f"the lowest value is repeated and lies {least - highest:.0f} dB above silence"
    return None
