"""A look-ahead limiter, the same in pieces: peaks above full scale are turned down."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LOOKAHEAD_SECONDS = 0.005
"""Time in which the gain falls before a peak; samples come out this much later."""

# With the look-ahead half a period of 20 Hz: the gain follows a voice's level, not its waves.
_HOLD_SECONDS = 0.02
_RELEASE_DB_PER_SECOND = 60.0
# Attenuation is counted in whole millionths of a dB. Sums and maxima of integers are exact, so the
# result does not depend on how the samples were cut.
_UNITS_PER_DB = 1_000_000
_UNITS_PER_NEPER = _UNITS_PER_DB * 20.0 / math.log(10.0)
# Samples at once: a long clip takes no more memory than a stream.
_PIECE = 2**15

_Units = NDArray[np.int64]


class Bounds(Protocol):
    """Keeps the samples of a stream within full scale."""

    peak: float
    """Largest magnitude until now."""
    over: int
    """Samples above full scale until now."""

    def add(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples `[k]`; returns those that are ready, in all as many as were taken."""

    def end(self) -> NDArray[np.float32]:
        """The samples that are left."""


class Clipper:
    """Clips samples; none waits."""

    def __init__(self) -> None:
        self.peak, self.over = 0.0, 0

    def add(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        magnitude = np.abs(samples)
        self.peak = max(self.peak, float(magnitude.max(initial=0.0)))
        self.over += int((magnitude > 1.0).sum())
        return np.clip(samples, -1.0, 1.0)

    def end(self) -> NDArray[np.float32]:
        return np.zeros(0, np.float32)


class Limiter:
    """Limits a stream of samples; state depends on the samples, not on how they were cut.

    The attenuation that a sample needs holds from the look-ahead before it until some time after,
    then it is released at a constant rate; a triangle as long as the look-ahead smooths it. All
    values under the triangle are at least what its sample needs, so their mean is, too.

    Parameters
    ----------
    sample_rate
        Hz.

    """

    def __init__(self, sample_rate: int) -> None:
        ahead = max(1, round(LOOKAHEAD_SECONDS * sample_rate))
        hold = round(_HOLD_SECONDS * sample_rate)
        self._step = max(1, round(_RELEASE_DB_PER_SECOND * _UNITS_PER_DB / sample_rate))
        self._needed: _Units = np.zeros(hold + ahead, np.int64)
        self._held = 0
        # Two boxes, one after the other, are the triangle.
        self._boxes = [_Box(ahead // 2 + 1), _Box(ahead - ahead // 2 + 1)]
        self._line = np.zeros(ahead, np.float32)
        self._early = ahead
        """Zeros before the first sample that are still in the line."""
        self._resting = True
        """Whether no attenuation is left of earlier samples."""
        self.peak, self.over = 0.0, 0

    def add(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate(
            [
                self._line[:0],
                *(self._add(samples[at : at + _PIECE]) for at in range(0, len(samples), _PIECE)),
            ]
        )

    def end(self) -> NDArray[np.float32]:
        return self._add(np.zeros_like(self._line))

    def _add(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        line = np.concatenate([self._line, samples])
        out, self._line = line[: len(samples)], line[len(samples) :]
        attenuation = self._attenuation(np.abs(samples))
        if attenuation is not None:
            # In double precision: the product is at most 1 before it is rounded.
            out = (out * np.exp(attenuation / -_UNITS_PER_NEPER)).astype(np.float32)
            np.clip(out, -1.0, 1.0, out=out)
        early = min(self._early, len(out))
        self._early -= early
        return out[early:]

    def _attenuation(self, magnitude: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Attenuation `[k]` of the samples one look-ahead earlier; None for none."""
        self.peak = max(self.peak, float(magnitude.max(initial=0.0)))
        over = np.flatnonzero(magnitude > 1.0)
        if self._resting and not over.size:
            return None
        self.over += over.size
        count, history = len(magnitude), len(self._needed)
        line = np.concatenate([self._needed, np.zeros(count, np.int64)])
        decibels = np.ceil(np.log(magnitude[over], dtype=np.float64) * _UNITS_PER_NEPER)
        line[history + over] = decibels.astype(np.int64)
        self._needed = line[count:].copy()
        held = _sliding_max(line, history + 1)
        held[0] = max(held[0], self._held - self._step)
        release = np.arange(count) * self._step
        held = np.maximum.accumulate(held + release) - release
        self._held = int(held[-1])
        smooth = held
        for box in self._boxes:
            smooth = box.sums(smooth)
        self._resting = self._held == 0 and not (
            self._needed.any() or any(box.line.any() for box in self._boxes)
        )
        return smooth / math.prod(box.length for box in self._boxes)


def limit(wave: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Limit a clip.

    Parameters
    ----------
    wave
        Samples `[L]`, full scale at 1.
    sample_rate
        Hz.

    """
    limiter = Limiter(sample_rate)
    return np.concatenate([limiter.add(wave), limiter.end()])


class _Box:
    """Sums over the last `length` values of a stream."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.line: _Units = np.zeros(length - 1, np.int64)

    def sums(self, values: _Units) -> _Units:
        line = np.concatenate([np.zeros(1, np.int64), self.line, values])
        self.line = line[len(line) - self.length + 1 :].copy()
        total: _Units = np.cumsum(line)
        return total[self.length :] - total[: len(values)]


def _sliding_max(values: _Units, width: int) -> _Units:
    """Largest of each `width` neighbours, by windows that double."""
    reach = 1
    while 2 * reach <= width:
        values, reach = np.maximum(values[reach:], values[:-reach]), 2 * reach
    rest = width - reach
    largest: _Units = np.maximum(values[rest:], values[: len(values) - rest])
    return largest
