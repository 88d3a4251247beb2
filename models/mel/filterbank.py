"""Mel filterbanks: triangles on the Slaney or HTK mel scale, as in librosa and torchaudio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig

Array = NDArray[np.float64]

# Slaney's Auditory Toolbox (1998): linear below 1 kHz at 200/3 Hz a mel, logarithmic above with
# 27 mels to a factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: Array, scale: str) -> Array:
    """Frequencies on a mel scale.

    Parameters
    ----------
    hz
        Frequencies, Hz.
    scale
        "slaney" or "htk".
    """
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    logs = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ_PER_MEL, _BREAK_MEL + logs)


def mel_to_hz(mel: Array, scale: str) -> Array:
    """Frequencies in Hz of mels, the inverse of `hz_to_mel`.

    Parameters
    ----------
    mel
        Frequencies in mels.
    scale
        "slaney" or "htk".
    """
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mel - _BREAK_MEL, 0.0))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, above)


def filterbank(config: MelConfig) -> Array:
    """The mel filterbank `F` of a config.

    Band k rises from edge k to edge k + 1 and falls to edge k + 2; the K + 2 edges are equally
    spaced in mels from fmin to fmax. Norm "slaney" divides by half the band's width in Hz.
    A band narrower than a bin can be empty: see `empty_bands`.

    Returns
    -------
    Array
        Triangles `[K, N]`, float64.
    """
    ends = hz_to_mel(np.array([config.fmin, config.fmax]), config.mel_scale)
    edges = mel_to_hz(np.linspace(ends[0], ends[1], config.n_mels + 2), config.mel_scale)
    bins = np.arange(config.n_bins) * (config.filterbank_rate / config.n_fft)
    widths = np.diff(edges)[:, None]
    slopes = edges[:, None] - bins[None, :]
    rising = -slopes[:-2] / widths[:-1]
    falling = slopes[2:] / widths[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if config.norm == "slaney":
        bank *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return bank


def empty_bands(bank: Array) -> NDArray[np.int64]:
    """Indices of the bands without any bin, which the transform does not resolve.

    Parameters
    ----------
    bank
        Filterbank `[K, N]`.
    """
    return np.flatnonzero(bank.max(axis=1) <= 0.0)
