"""The pitch figures as they are said: in the time domain, sample by sample, one frame at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import hilbert, resample

RATE, EDGE, FINE = 16000, 100.0, 16

Real = NDArray[np.float64]


def band(wave: Real, low: float, high: float) -> Real:
    """A band of samples `[L]`: a convolution with the response whose gain has cosine edges."""
    frequencies = np.arange(0.0, RATE / 2, 0.5)
    gain = np.zeros(len(frequencies))
    for k, frequency in enumerate(frequencies):
        if low + EDGE <= frequency <= high - EDGE:
            gain[k] = 1.0
        elif low < frequency < low + EDGE:
            gain[k] = np.sin(np.pi / 2 * (frequency - low) / EDGE) ** 2
        elif high - EDGE < frequency < high:
            gain[k] = np.sin(np.pi / 2 * (high - frequency) / EDGE) ** 2
    times = np.arange(-1600, 1601) / RATE
    response = [np.sum(gain * np.cos(2 * np.pi * frequencies * t)) / RATE for t in times]
    return np.asarray(np.convolve(wave, response, mode="same"), np.float64)


def figures(
    wave: Real, centre: float, period: float, low: float, high: float
) -> tuple[float, float]:
    """`r` and `e` of one frame of samples `[L]` at 16 kHz; centre and period in samples."""
    fine = resample(hilbert(band(wave, low, high)), FINE * len(wave))
    start, length = round(FINE * (centre - 2.5 * period)), round(FINE * 4 * period)
    here = fine[start : start + length]
    best_r, best_e = -1.0, -1.0
    for lag in range(round(FINE * 0.96 * period), round(FINE * 1.04 * period) + 1):
        later = fine[start + lag : start + lag + length]
        best_r = max(best_r, float(np.corrcoef(here.real, later.real)[0, 1]))
        best_e = max(best_e, float(np.corrcoef(abs(here), abs(later))[0, 1]))
    return best_r, best_e
