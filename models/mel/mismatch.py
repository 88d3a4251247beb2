"""A mel of another scale than its config's: the symptoms, the likely scale, and a warning.

Every judgement is of statistics that hardly depend on the audio or its level: see `statistics`. A
symptom alone decides whether there is a warning; the comparison with other scales only names the
likeliest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.scale import CoquiScale, DecibelScale, LinearScale, LogScale, WhisperScale
from unmel.models.mel.statistics import (
    MIN_FRAMES,
    LevelStatistics,
    floor_levels,
    level_statistics,
    levels_of,
    offset_of,
    sampled_frames,
)

# Bounds of what recordings of speech, music and noise have in any extractor, at any level.
# Roughness is 0.75 to 1.9, and changes of all sizes keep a proportion; a tone is smooth in most
# cells and rough in few, and what a network blurred is smooth over a wide spread of levels.
_ROUGHEST, _ROUGHEST_IF_HIGH, _HIGH, _ROUGHEST_IF_LOUD, _LOUD = 2.4, 2.0, -30.0, 1.4, -18.0
_LEAST_EVENNESS, _CONSTANT, _SILENT = 0.6, 0.02, -95.0
# The median and the loud level together: above this nothing is quiet in the clip, dB of full scale.
_LOUDEST_SUM, _LEAST_ROUGHNESS = -53.0, 0.55
# A compressed scale takes roughness and spread down together: base-2 logarithms of both, and the
# spread of an ordinary recording, dB.
_FLATTEST, _WEAKLY_FLAT, _SMOOTHER = -0.61, -0.5, -0.5
_USUAL_SPREAD, _LEAST_SPREAD = 55.0, -0.7
# Below both there is no audio at all, as in values within [0, 1].
_NO_SPREAD, _NO_ROUGHNESS = 20.0, 0.4
# Least share of the cells that are above the floor for a judgement of their spread.
_HEARD = 0.5
# Share of the cells at a floor, its least distance from the config's in dB, and the share below it.
_FLOOR_SHARE, _FLOOR_DISTANCE, _BELOW_SHARE = 0.01, 6.0, 0.02
# Largest mean, and deviation from 1, of a clip or a band normalised by its own moments.
_EXACT, _EXACT_BAND = 0.003, 0.02
# Values beyond a scale's bounds by this factor are no overshoot of a network.
_OVERSHOOT = 1.1
# Speech in its right config, and usual deviations; a reading further from it is not named.
_SPEECH_ROUGHNESS, _SPEECH_SPREAD, _SPEECH_LOUD, _SPEECH_MEDIAN = 0.1, 62.0, -31.0, -68.0
_FARTHEST, _CONVINCING, _AS_LIKELY, _MAX_NAMES = 3.0, 1.6, 1.0, 3


@dataclass(frozen=True)
class Reading:
    """Another reading of the values."""

    config: MelConfig
    option: str
    """The option that selects it: `config=NAME`, or the members of MelConfig that would differ."""
    distance: float = math.inf
    """Distance of the values from speech, in usual deviations."""


def scale_warning(config: MelConfig, values: NDArray[np.float32]) -> str | None:
    """A warning for values that look like those of another scale; None where all is well.

    Parameters
    ----------
    config
        The config that the values were sent with.
    values
        Stored values `[T, K]`, finite.

    Returns
    -------
    str or None
        One sentence: the values, what they look like, and the option that would be right.

    Examples
    --------
    Short or silent clips are not judged:

    >>> from unmel.models.mel.presets import PRESETS
    >>> config = PRESETS["hifigan-22k"].config
    >>> scale_warning(config, np.full((400, 80), -11.51, np.float32)) is None
    True
    """
    statistics = level_statistics(config, values)
    if statistics is None or statistics.loud < _SILENT:
        return None
    symptom, likely = _symptom(config, values, statistics), None
    if symptom is None:
        # A weak symptom counts where another reading makes speech of the values.
        symptom = _distortion(statistics, _WEAKLY_FLAT)
        likely = likely_scales(config, values) if symptom else []
        if not likely or likely[0].distance > _CONVINCING:
            return None
    likely = likely_scales(config, values) if likely is None else likely
    low, high = float(values.min()), float(values.max())
    sentence = f"values from {low:.4g} to {high:.4g} do not look like {_name(config)}: {symptom}"
    if likely:
        return f"{sentence}; they look like " + " or ".join(reading.option for reading in likely)
    return (
        f"{sentence}; they look normalised: undo that before sending, or give its `mean` and `std` "
        "in the config"
    )


def _name(config: MelConfig) -> str:
    """A config's preset, or its scale."""
    for name, row in PRESETS.items():
        if row.config == config:
            return name
    return f"the scale {config.scale.kind!r} with power {config.power}"


def _symptom(
    config: MelConfig, values: NDArray[np.float32], statistics: LevelStatistics
) -> str | None:
    """What no recording has in this config, in a few words."""
    if _is_normalised(config, values):
        return "their mean is 0 and their standard deviation 1"
    if _is_integer(values):
        return "all are whole numbers, as in an image of 8 bits"
    return _distortion(statistics) or _wrong_range(config, values) or _other_floor(config, values)


def _distortion(statistics: LevelStatistics, flattest: float = _FLATTEST) -> str | None:
    """A symptom in the statistics, or None."""
    rough, loud = statistics.roughness, statistics.loud
    even = statistics.evenness > _LEAST_EVENNESS
    if even and (
        rough > _ROUGHEST
        or (rough > _ROUGHEST_IF_HIGH and loud > _HIGH)
        or (rough > _ROUGHEST_IF_LOUD and loud > _LOUD)
    ):
        return f"levels change {rough:.1f} times as much from band to band as those of noise"
    if even and rough > _LEAST_ROUGHNESS and statistics.median + loud > _LOUDEST_SUM:
        return f"half of them lie above {statistics.median:.0f} dB of full scale: nothing is quiet"
    if _is_flat(statistics, flattest):
        return (
            f"levels lie within {statistics.spread:.0f} dB and change {rough:.2g} times as much "
            "from band to band as those of noise"
        )
    return None


def _wrong_range(config: MelConfig, values: NDArray[np.float32]) -> str | None:
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


def _is_flat(statistics: LevelStatistics, flattest: float) -> bool:
    """Whether levels are compressed: small differences, large and small ones alike."""
    if statistics.roughness < _CONSTANT or statistics.heard < _HEARD:
        return False
    if statistics.roughness < _NO_ROUGHNESS and statistics.spread < _NO_SPREAD:
        return True
    rough = math.log2(statistics.roughness)
    spread = math.log2(max(statistics.spread, 1e-3) / _USUAL_SPREAD)
    if rough - spread < _SMOOTHER or statistics.evenness < _LEAST_EVENNESS:
        return False
    return rough + 0.35 * max(spread, _LEAST_SPREAD) < flattest


def _is_normalised(config: MelConfig, values: NDArray[np.float32]) -> bool:
    """Whether the clip's own mean and deviation were taken away, of each band or of all."""
    if config.mean != 0.0 or config.std != 1.0:
        return False
    if abs(float(values.mean())) < _EXACT and abs(float(values.std()) - 1.0) < _EXACT:
        return True
    means, deviations = values.mean(axis=0), values.std(axis=0)
    normal = (np.abs(means) < _EXACT_BAND) & (np.abs(deviations - 1.0) < _EXACT_BAND)
    return bool(normal.sum() > 0.9 * len(normal) and len(normal) > 1)


def _is_integer(values: NDArray[np.float32]) -> bool:
    """Whether all values are whole numbers of 0 to 255, and many different ones."""
    if values.min() < 0 or values.max() > 255:
        return False
    part = values[sampled_frames(len(values))]
    return bool((part == np.rint(part)).all() and len(np.unique(part)) > 16)


def _other_floor(config: MelConfig, values: NDArray[np.float32]) -> str | None:
    """A floor of the values that is not the config's, or values below its own."""
    scale = config.scale
    relative = isinstance(scale, WhisperScale) or (
        isinstance(scale, DecibelScale) and scale.top_db is not None
    )
    if relative or isinstance(scale, LinearScale) or offset_of(config):
        return None
    levels = levels_of(config, values[sampled_frames(len(values))])
    lowest, highest = floor_levels(config)
    if (levels < lowest - _FLOOR_DISTANCE).mean() > _BELOW_SHARE:
        return "they go below the value of silence"
    least, repeated = float(levels.min()), int((values <= values.min()).sum())
    if (
        least > highest + _FLOOR_DISTANCE
        and (levels <= least).mean() > _FLOOR_SHARE
        and repeated > MIN_FRAMES
    ):
        return f"the lowest value is repeated and lies {least - highest:.0f} dB above silence"
    return None


def likely_scales(config: MelConfig, values: NDArray[np.float32]) -> list[Reading]:
    """Other readings under which the values look like a recording, likeliest first; three at most.

    Parameters
    ----------
    config
        The config that the values were sent with.
    values
        Stored values `[T, K]`.
    """
    found = []
    for reading in _readings(config):
        statistics = level_statistics(reading.config, values)
        if statistics is None or _distortion(statistics) is not None:
            continue
        distance = distance_from_speech(statistics)
        if distance > _FARTHEST or _wrong_range(reading.config, values):
            continue
        if not _other_floor(reading.config, values):
            found.append(replace(reading, distance=distance))
    found.sort(key=lambda reading: reading.distance)
    near = [one for one in found if one.distance < found[0].distance + _AS_LIKELY]
    return near[:_MAX_NAMES]


def distance_from_speech(statistics: LevelStatistics) -> float:
    """Distance of statistics from those of speech in its right config, in usual deviations."""
    rough = (math.log2(max(statistics.roughness, 1e-3)) - _SPEECH_ROUGHNESS) / 0.3
    spread = math.log2(max(statistics.spread, 1e-3) / _SPEECH_SPREAD) / 0.4
    loud = (statistics.loud - _SPEECH_LOUD) / 8.0
    median = (statistics.median - _SPEECH_MEDIAN) / 14.0
    return math.sqrt(rough**2 + spread**2 + loud**2 + median**2)


def _readings(config: MelConfig) -> Iterator[Reading]:
    """Presets of as many bands, then the config itself with another scale or power.

    No preset has the filterbank of a client's own.
    """
    seen = {_key(config)}
    geometry = (config.sample_rate, config.n_fft, config.hop_length)
    rows = sorted(
        (
            row
            for row in PRESETS.values()
            if row.config.n_mels == config.n_mels and config.filterbank is None
        ),
        key=lambda row: (
            (row.config.sample_rate, row.config.n_fft, row.config.hop_length) != geometry
        ),
    )
    for row in rows:
        if _key(row.config) not in seen:
            seen.add(_key(row.config))
            yield Reading(row.config, f"config={row.name}")
    plain = {"mean": 0.0, "std": 1.0}
    for scale, powers in (
        (LogScale(kind="ln"), (1, 2)),
        (LogScale(kind="log10", clip=1e-10), (1, 2)),
        (LinearScale(), (1, 2)),
        (DecibelScale(), (config.power,)),
        (CoquiScale(), (1,)),
        (WhisperScale(), (2,)),
    ):
        for power in powers:
            other = config.model_copy(update={"scale": scale, "power": power, **plain})
            if _key(other) not in seen:
                seen.add(_key(other))
                yield Reading(other, f"scale={scale.kind}, power={power}")


def _key(config: MelConfig) -> tuple[object, ...]:
    """What decides how values become levels, but for their floor."""
    scale = config.scale.model_copy(
        update={"clip": 0.0} if isinstance(config.scale, LogScale) else {}
    )
    return scale, config.mean, config.std, config.power
