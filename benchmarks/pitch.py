"""Pitch in bands: how alike a band, and its envelope, are from one period to the next.

For each band, `r` is the largest normalised autocorrelation of the band signal within 4 % of the
pitch period, and `e` that of its Hilbert envelope: the mean over the voiced frames of the original,
whose periods serve the result too. Four periods are compared with the four that begin one period
later. Exact pulses have 1 and 1; noise has an `r` of 0.15 and an `e` of 0.05, because the largest
of several chance values is above zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import librosa
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from benchmarks.peers import Wave

RATE = 16000
BANDS = ((1000.0, 2000.0), (2000.0, 4000.0), (4000.0, 7600.0))
"""Lower and upper edge of each band, Hz."""
HOP = 160
FMIN, FMAX = 50.0, 550.0
# A band's gain rises and falls over this width inside its edges, Hz.
EDGE = 100.0
# Lags at 16 kHz would miss the peaks of a carrier at 6 kHz by up to a quarter of its period.
OVERSAMPLING = 4
DEVIATION = 0.04
PERIODS = 4

Real = NDArray[np.float64]


class Voiced(NamedTuple):
    """The voiced frames of a clip."""

    centres: NDArray[np.int64]
    """Samples in the middle of the frames."""
    periods: Real
    """Pitch periods there, samples."""


def voiced_frames(wave: Wave) -> Voiced:
    """Voiced frames of samples `[L]` at 16 kHz, each 10 ms, by librosa's pYIN of 50 to 550 Hz."""
    f0, voiced, _ = librosa.pyin(
        wave, fmin=FMIN, fmax=FMAX, sr=RATE, frame_length=1024, hop_length=HOP
    )
    frames = np.flatnonzero(voiced & np.isfinite(f0))
    return Voiced(frames * HOP, RATE / f0[frames])


def band_gain(frequencies: Real, low: float, high: float) -> Real:
    """Gain of a band at frequencies: flat, with raised cosines inside its edges, all in Hz."""
    inside = np.minimum(frequencies - low, high - frequencies)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(inside / EDGE, 0.0, 1.0)), np.float64)


def analytic_band(wave: Wave, low: float, high: float) -> NDArray[np.complex128]:
    """Analytic signal of a band, samples `[L]` at 16 kHz to `[4 L]` at 64 kHz."""
    # Zeros behind keep the filter from wrapping around into the start.
    size = next_fast_len(len(wave) + RATE // 10, real=True)
    spectrum = np.fft.rfft(wave.astype(np.float64), size)
    wide = np.zeros(size * OVERSAMPLING, np.complex128)
    frequencies = np.asarray(np.fft.rfftfreq(size, 1.0 / RATE), np.float64)
    gain = band_gain(frequencies, low, high)
    wide[: len(spectrum)] = 2.0 * OVERSAMPLING * gain * spectrum
    return np.fft.ifft(wide)[: len(wave) * OVERSAMPLING]


def likeness(signal: Real, centre: float, period: float) -> float:
    """Largest correlation of a signal `[L]` with itself about one period later.

    Parameters
    ----------
    signal : np.ndarray [shape=(L,)]
        A signal; its mean over what is compared does not count.
    centre, period : float
        Middle of the compared span and the period, samples.

    Returns
    -------
    float
        At most 1, 0 where nothing sounds, nan where the span reaches out of the signal.
    """
    length = round(PERIODS * period)
    first, last = int(np.ceil((1 - DEVIATION) * period)), int((1 + DEVIATION) * period)
    start = round(centre - (length + period) / 2)
    if start < 0 or start + last + length > len(signal):
        return float("nan")
    here = signal[start : start + length]
    here = here - here.mean()
    later = sliding_window_view(signal[start + first : start + last + length], length)
    power = np.einsum("lt,lt->l", later, later) - length * later.mean(axis=1) ** 2
    scale = np.sqrt(np.maximum(power, 0.0) * (here @ here))
    found = (later @ here) / np.where(scale > 0.0, scale, np.inf)
    return min(1.0, _peak(found))


def _peak(values: Real) -> float:
    """Largest value, by the parabola through it and its neighbours."""
    k = int(np.argmax(values))
    if not 0 < k < len(values) - 1:
        return float(values[k])
    before, top, after = values[k - 1 : k + 2]
    bend = before - 2.0 * top + after
    return float(top if bend == 0.0 else top - (after - before) ** 2 / (8.0 * bend))


def pitch_figures(wave: Wave, voiced: Voiced, bands: Sequence[tuple[float, float]] = BANDS) -> Real:
    """`r` of each band, then `e` of each: means over voiced frames.

    Parameters
    ----------
    wave : np.ndarray [shape=(L,)]
        Samples at 16 kHz.
    voiced : Voiced
        Frames and periods of the original.
    bands : sequence of (float, float)
        Edges, Hz.

    Returns
    -------
    np.ndarray [shape=(2 * len(bands),)]
        nan where no voiced frame has room for the periods compared.
    """
    centres, periods = voiced.centres * OVERSAMPLING, voiced.periods * OVERSAMPLING
    columns = []
    for part in (np.real, np.abs):
        for low, high in bands:
            signal = np.asarray(part(analytic_band(wave, low, high)), np.float64)
            values = np.array(
                [likeness(signal, c, p) for c, p in zip(centres, periods, strict=True)]
            )
            known = values[np.isfinite(values)]
            columns.append(known.mean() if len(known) else np.nan)
    return np.array(columns)
