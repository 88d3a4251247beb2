"""Mel filterbanks: triangles on the Slaney or HTK scale, as in librosa, torchaudio and Kaldi."""

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
# Width of a side that has none, Hz or mels.
_NO_WIDTH = 1e-12


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
    A band narrower than a bin can be empty: see `empty_bands`. With `triangles` "mel" the sides
    are straight over mels in place of Hz, as in Kaldi (feat/mel-computations.cc), whose
    1127 ln(1 + f/700) is HTK's scale, and the norm is by half the width in mels, as in
    transformers (audio_utils.py). With "bins" an edge of f Hz is lowered to the bin
    floor((n_fft + 1) f / filterbank_rate), as in python_speech_features (base.py): a rising side
    holds the bins below its peak, a falling one the peak and those above it, and one without
    width none. A config with a filterbank of its own has that.

    Returns
    -------
    Array
        Triangles `[K, N]`, float64; not to be altered.
    """
    if config.filterbank is not None:
        return config.filterbank.values
    ends = hz_to_mel(np.array([config.fmin, config.fmax]), config.mel_scale)
    mels: Array = np.linspace(ends[0], ends[1], config.n_mels + 2)
    edges = mel_to_hz(mels, config.mel_scale)
    bins = np.arange(config.n_bins, dtype=np.float64) * (config.filterbank_rate / config.n_fft)
    corners, places = edges, bins
    if config.triangles == "mel":
        corners, places = mels, hz_to_mel(bins, config.mel_scale)
    elif config.triangles == "bins":
        numbers = np.floor((config.n_fft + 1) * edges / config.filterbank_rate)
        corners = numbers * (config.filterbank_rate / config.n_fft)
    widths = np.maximum(np.diff(corners), _NO_WIDTH)[:, None]
    slopes = corners[:, None] - places[None, :]
    # From the peak on the falling side decides, which a rising one without width leaves to it.
    rising = np.where(slopes[1:-1] > 0, -slopes[:-2] / widths[:-1], 1.0)
    falling = slopes[2:] / widths[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if config.norm == "slaney":
        bank *= (2.0 / np.maximum(corners[2:] - corners[:-2], _NO_WIDTH))[:, None]
    return bank


def empty_bands(bank: Array) -> NDArray[np.int64]:
    """Indices of the bands without any bin, which the transform does not resolve.

    Parameters
    ----------
    bank
        Filterbank `[K, N]`.
    """
    return np.flatnonzero(bank.max(axis=1) <= 0.0)
