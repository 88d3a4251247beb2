"""Other readings of a mel's values: the scales under which they look like a recording."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.scale import CoquiScale, DecibelScale, LinearScale, LogScale, WhisperScale
from unmel.models.mel.statistics import LevelStatistics, level_statistics
from unmel.models.mel.symptoms import distortion_of, other_floor, wrong_range

# Speech in its right config, and usual deviations; a reading further from it is not named.
_SPEECH_ROUGHNESS, _SPEECH_SPREAD, _SPEECH_LOUD, _SPEECH_MEDIAN = 0.1, 62.0, -31.0, -68.0
_FARTHEST, _AS_LIKELY, _MAX_NAMES = 3.0, 1.0, 3


@dataclass(frozen=True)
class Reading:
    """Another reading of the values."""

    config: MelConfig
    option: str
    """The option that selects it: `config=NAME`, or the members of MelConfig that would differ."""
    distance: float = math.inf
    """Distance of the values from speech, in usual deviations."""


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
        if statistics is None or distortion_of(statistics) is not None:
            continue
        distance = distance_from_speech(statistics)
        if distance > _FARTHEST or wrong_range(reading.config, values):
            continue
        if not other_floor(reading.config, statistics.levels):
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

    No preset has a client's own filterbank.
    """
    seen = {_key(config)}
    geometry = _geometry(config)
    rows = [row for row in PRESETS.values() if row.config.n_mels == config.n_mels]
    rows.sort(key=lambda row: _geometry(row.config) != geometry)
    for row in rows if config.filterbank is None else ():
        if _key(row.config) not in seen:
            seen.add(_key(row.config))
            yield Reading(row.config, f"config={row.name}")
    for scale, powers in (
        (LogScale(kind="ln"), (1.0, 2.0)),
        (LogScale(kind="log10", clip=1e-10), (1.0, 2.0)),
        (LinearScale(), (1.0, 2.0)),
        (DecibelScale(), (config.power,)),
        (CoquiScale(), (1.0,)),
        (WhisperScale(), (2.0,)),
    ):
        for power in powers:
            plain = {"scale": scale, "power": power, "mean": 0.0, "std": 1.0}
            other = config.model_copy(update=plain)
            if _key(other) not in seen:
                seen.add(_key(other))
                yield Reading(other, f"scale={scale.kind} with power={power:g}")


def _geometry(config: MelConfig) -> tuple[int, int, int]:
    return config.sample_rate, config.n_fft, config.hop_length


def _key(config: MelConfig) -> tuple[object, ...]:
    """The parts of a config that turn values into levels, but for their floor."""
    scale = config.scale.model_copy(
        update={"clip": 0.0} if isinstance(config.scale, LogScale) else {}
    )
    return scale, config.mean, config.std, config.power
