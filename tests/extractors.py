"""Extractors written out in numpy from their projects' files: Kaldi's kin, tf.signal, and others.

Each was compared with the original's own output: Kaldi's with torchaudio.compliance.kaldi (1e-4 in
the mean: its filterbank is float32), python_speech_features 0.6 (1e-8), tensorflow 2.21 (1e-3),
Real-Time-Voice-Cloning's synthesizer/audio.py (5e-8). All take samples `[L]` within +-1 and give
values `[K, T]`.
"""

from __future__ import annotations

import librosa
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

INT16 = 2.0**15
"""Scale of samples that are 16-bit integers."""


def framed(wave: Array, length: int, hop: int) -> Array:
    """Frames `[T, length]` that lie within the samples (Kaldi's snip_edges)."""
    return np.lib.stride_tricks.sliding_window_view(wave, length)[::hop].copy()


def emphasised(wave: Array) -> Array:
    return wave - 0.97 * np.append(0.0, wave[:-1])


def mels(hz: ArrayLike) -> Array:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)


def mel_triangles(n_mels: int, n_fft: int, rate: int, fmin: float, fmax: float) -> Array:
    """Triangles `[K, N]` over mels."""
    places = mels(np.arange(n_fft // 2 + 1) * rate / n_fft)
    corners = np.linspace(mels(fmin), mels(fmax), n_mels + 2)
    bands = zip(corners, corners[1:], corners[2:], strict=False)
    return np.array([np.interp(places, band, [0.0, 1.0, 0.0]) for band in bands])


def bin_triangles(n_mels: int, n_fft: int, rate: int, fmin: float, fmax: float) -> Array:
    """Triangles `[K, N]` between whole bins, in python_speech_features' two loops."""
    edges = 700.0 * (
        10.0
        ** (np.linspace(*(2595 * np.log10(1 + f / 700) for f in (fmin, fmax)), n_mels + 2) / 2595)
        - 1.0
    )
    corners = np.floor((n_fft + 1) * edges / rate).astype(int)
    bank = np.zeros((n_mels, n_fft // 2 + 1))
    for k in range(n_mels):
        low, peak, high = corners[k : k + 3]
        for n in range(low, peak):
            bank[k, n] = (n - low) / (peak - low)
        for n in range(peak, high):
            bank[k, n] = (high - n) / (high - peak)
    return bank


def kaldi_fbank(
    wave: Array, n_mels: int, window: str = "povey", scale: float = INT16, remove_dc: bool = True
) -> Array:
    """compute-fbank-feats at 16 kHz with --dither=0; torchaudio's fbank with `scale` 1."""
    frames = framed(np.asarray(wave, np.float64) * scale, 400, 160)
    if remove_dc:
        frames -= frames.mean(axis=1, keepdims=True)
    frames -= 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames *= np.hanning(400) ** (0.85 if window == "povey" else 1.0)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    bank = mel_triangles(n_mels, 512, 16000, 20.0, 8000.0)
    return np.log(np.maximum(bank @ power.T, 2.0**-23))


def ast(wave: Array, remove_dc: bool = True) -> Array:
    """ASTFeatureExtractor, without the frames that fill up to max_length."""
    logs = kaldi_fbank(wave, 128, "hann", 1.0, remove_dc)
    return (logs + 4.2677393) / (2.0 * 4.5689974)


def speech_features(wave: Array) -> Array:
    """python_speech_features.logfbank of 16-bit samples."""
    wave = emphasised(np.asarray(wave, np.float64) * INT16)
    frames = framed(np.pad(wave, (0, -(len(wave) - 400) % 160)), 400, 160)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2 / 512.0
    energies = bin_triangles(26, 512, 16000, 0.0, 8000.0) @ power.T
    return np.log(np.where(energies == 0.0, np.finfo(np.float64).eps, energies))


def tf_signal(wave: Array) -> Array:
    """The log-mel in the example of tf.signal.mfccs_from_log_mel_spectrograms."""
    frames = framed(np.asarray(wave, np.float64), 1024, 256) * np.hanning(1025)[:-1]
    magnitude = np.abs(np.fft.rfft(frames))
    return np.log(mel_triangles(80, 1024, 16000, 80.0, 7600.0) @ magnitude.T + 1e-6)


def voice_cloning(wave: Array) -> Array:
    """Real-Time-Voice-Cloning's melspectrogram."""
    padded = np.pad(emphasised(np.asarray(wave, np.float64)), 400)
    frames = framed(padded, 800, 200) * np.hanning(801)[:-1]
    bank = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600, dtype=np.float64)
    magnitude = bank @ np.abs(np.fft.rfft(frames)).T
    decibels = 20.0 * np.log10(np.maximum(1e-5, magnitude)) - 20.0
    return np.asarray(np.clip(8.0 * (decibels + 100.0) / 100.0 - 4.0, -4.0, 4.0))
