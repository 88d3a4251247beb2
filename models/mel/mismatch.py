"""Warnings about a mel's values: padding that is heard, another scale than the config's, blur.

A symptom decides whether there is a warning; other readings of the values name the likely scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.blur import blur_warning
from unmel.models.mel.config import MelConfig
from unmel.models.mel.padding import padded_frames, padding_warning
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.readings import likely_scales
from unmel.models.mel.statistics import LevelStatistics, level_statistics
from unmel.models.mel.symptoms import distortion_of, symptom_of
from unmel.models.mel.validate import none_negative

# A weak symptom counts where another reading is this near to speech, in usual deviations.
_CONVINCING = 1.75


def value_warnings(config: MelConfig, values: NDArray[np.float32]) -> tuple[str, ...]:
    """Warnings about values that are not what they are said to be; none where all is well.

    Parameters
    ----------
    config
        The config that the values were sent with.
    values
        Stored values `[T, K]`, finite.
    """
    head, tail = padded_frames(config, values)
    body = values[head : len(values) - tail]
    statistics = level_statistics(config, body)
    found = (
        padding_warning(values, head, tail),
        _scale_warning(config, body, statistics),
        None if statistics is None else blur_warning(config, statistics),
    )
    return tuple(warning for warning in found if warning)


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
    return _scale_warning(config, values, level_statistics(config, values))


def _scale_warning(
    config: MelConfig, values: NDArray[np.float32], statistics: LevelStatistics | None
) -> str | None:
    symptom, readings = None, None
    if none_negative(config, values):
        symptom = "none is negative"
    elif statistics is None or statistics.is_silent:
        return None
    else:
        symptom = symptom_of(config, values, statistics)
    if symptom is None and statistics is not None:
        symptom = distortion_of(statistics, weak=True)
        readings = likely_scales(config, values) if symptom else []
        if not readings or readings[0].distance > _CONVINCING:
            return None
    if readings is None:
        readings = likely_scales(config, values)
    low, high = float(values.min()), float(values.max())
    sentence = f"values from {low:.4g} to {high:.4g} do not look like {_name(config)}: {symptom}"
    if readings:
        return f"{sentence}; they look like " + " or ".join(one.option for one in readings)
    if statistics is None or low < -1.0 or high > 1.0:
        return f"{sentence}; another scale, or other mean and std?"
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
