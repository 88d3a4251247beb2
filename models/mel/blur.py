"""Blur over time: levels that change from frame to frame more smoothly than any recording's.

An acoustic model that is trained on a squared error averages what it cannot know, and with it
neighbouring frames. What that takes away is seen in differences of high order, whose size against
those of low order hardly depends on the audio: noise, voices and music are alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.statistics import (
    MIN_CELLS,
    LevelStatistics,
    kept_by_kind,
    noise_levels,
    quantiles,
)

BLURRED = "blurred over time: "
"""Begin of the warning. It says what to expect, and not that the values are of another kind."""

# Below this share of noise's sharpness levels are blurred. Of recordings of speech, music and
# instruments in 16 presets the least has 0.69; speech that is blurred by weights of a quarter, a
# half and a quarter has 0.40 to 0.59.
_SHARPEST = 0.6
# Median sharpness over that of the loudest changes: all cells are blurred alike. In a steady
# synthetic tone few cells change at all.
_ALIKE = (0.7, 1.5)
# Least change from frame to frame and least roughness, shares of noise's: less is a steady sound.
_LEAST_CHANGE, _LEAST_ROUGHNESS = 0.45, 0.05


class _Changes(NamedTuple):
    """Differences of levels over time."""

    sharpness: float
    """90th percentile of the absolute fourth differences over that of the second."""
    median_sharpness: float
    """The same of the medians."""
    change: float
    """90th percentile of the absolute first differences, dB."""


def blur_warning(config: MelConfig, statistics: LevelStatistics) -> str | None:
    """A warning for levels that are blurred over time; None where they are as sharp as audio's.

    Parameters
    ----------
    config
        The config that the values are of.
    statistics
        The values' statistics.

    Returns
    -------
    str or None
        One sentence.
    """
    if statistics.is_silent or statistics.roughness < _LEAST_ROUGHNESS:
        return None
    found = _changes(statistics.heard_levels, statistics.index)
    if found is None:
        return None
    noise = _of_noise(config)
    sharpness = found.sharpness / noise.sharpness
    alike = found.median_sharpness / noise.median_sharpness / max(sharpness, 1e-9)
    if sharpness >= _SHARPEST or not _ALIKE[0] < alike < _ALIKE[1]:
        return None
    if found.change < _LEAST_CHANGE * noise.change:
        return None
    return (
        f"{BLURRED}levels change from frame to frame {sharpness:.1f} times as sharply as those of "
        "noise, as in an acoustic model's average and in no recording; the audio will sound dull"
    )


@kept_by_kind
def _of_noise(config: MelConfig) -> _Changes:
    levels = noise_levels(config).astype(np.float32)
    return _changes(levels, np.arange(len(levels))) or _Changes(1.0, 1.0, 1.0)


def _changes(levels: NDArray[np.float32], index: NDArray[np.int64]) -> _Changes | None:
    """Changes of levels `[t, B]`, not a number in a floor; None for too few."""
    sizes = {}
    for order in (1, 2, 4):
        # Neighbours of another block are no neighbours.
        following = index[order:] - index[:-order] == order
        change = np.abs(np.diff(levels, n=order, axis=0)[following])
        change = change[np.isfinite(change)]
        if change.size < MIN_CELLS:
            return None
        sizes[order] = [max(size, 1e-3) for size in quantiles(change, 0.5, 0.9)]
    (_, change), (median_2, second), (median_4, fourth) = sizes[1], sizes[2], sizes[4]
    return _Changes(fourth / second, median_4 / median_2, change)
