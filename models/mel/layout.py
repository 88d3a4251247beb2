"""The axis of the bands in a square mel, `[K, T]` or `[T, K]` with as many frames as bands."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.statistics import levels_of

Layout = Literal["auto", "bands_first", "frames_first"]

# Levels further below the loudest one than this are as good as silence, dB.
_RANGE = 90.0
# Fewest bands and frames that are judged, and the least difference that is clear.
_LEAST_SIZE, _CLEAR = 16, 0.6


def likelier_layout(
    config: MelConfig, mel: NDArray[Any]
) -> Literal["bands_first", "frames_first"] | None:
    """The likelier layout of a square array; None where neither is clearly likelier.

    The lowest bands hold one or two bins and the highest ones many, whose sum is smooth: along
    the bands the roughness falls, along the frames it stays. And recordings lose level from the
    lowest bands to the highest, where frames have no such slope.

    Parameters
    ----------
    config
        The config of the mel.
    mel
        The client's array `[K, K]`.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(mel, dtype=np.float32)
    if len(values) < _LEAST_SIZE or not np.isfinite(values).all():
        return None
    scores = [_score(config, rows) for rows in (values.T, values)]
    if abs(scores[0] - scores[1]) < _CLEAR:
        return None
    return "bands_first" if scores[0] > scores[1] else "frames_first"


def _score(config: MelConfig, values: NDArray[np.float32]) -> float:
    """How much the last axis of `[T, K]` looks like bands."""
    levels = levels_of(config, np.ascontiguousarray(values))
    levels = np.maximum(levels, levels.max() - _RANGE)
    part = len(levels) // 4
    bends = np.abs(np.diff(levels, 2, axis=1))
    low, high = np.median(bends[:, :part]), np.median(bends[:, -part:])
    course = levels.mean(axis=0)
    slope = np.polyfit(np.linspace(0.0, 1.0, len(course)), course, 1)[0]
    return float(np.log((low + 0.1) / (high + 0.1)) - 0.01 * slope)
