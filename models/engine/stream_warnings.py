"""Warnings about a stream's values, judged as its frames arrive."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.mismatch import value_warnings

JUDGED_FRAMES = 512
"""Most frames that a stream keeps to be judged."""

# Seconds of frames after which a stream is judged.
_JUDGED_AT = (1.0, 3.0)


class StreamWarnings:
    """The first frames of a stream, kept until they are judged: after a second, and after three.

    Parameters
    ----------
    config
        Config of the frames.
    """

    def __init__(self, config: MelConfig) -> None:
        self._config = config
        counts = (math.ceil(s * config.sample_rate / config.hop_length) for s in _JUDGED_AT)
        self._thresholds = [min(count, JUDGED_FRAMES) for count in counts]
        self._kept: list[NDArray[np.float32]] = []
        self._frames = 0

    def add(self, values: NDArray[np.float32]) -> tuple[str, ...]:
        """Warnings that are new with these frames `[T, K]`."""
        if not self._thresholds:
            return ()
        self._kept.append(values[: JUDGED_FRAMES - self._frames])
        self._frames += len(self._kept[-1])
        if self._frames < self._thresholds[0]:
            return ()
        self._thresholds = [count for count in self._thresholds if count > self._frames]
        return self._judge()

    def end(self) -> tuple[str, ...]:
        """Warnings about all frames of a short stream."""
        found = self._judge() if self._thresholds and self._kept else ()
        self._thresholds, self._kept = [], []
        return found

    def _judge(self) -> tuple[str, ...]:
        found = value_warnings(self._config, np.concatenate(self._kept))
        if found or not self._thresholds:
            self._thresholds, self._kept = [], []
        return found
