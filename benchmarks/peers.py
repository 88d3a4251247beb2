"""Peers by their own code: mel extraction and inversion with librosa and torchaudio.

Nothing here calls Unmel's numerics, so it serves the tests as an independent oracle too.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.scale import LogScale

Wave = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mel:
    """A mel as stored by its front-end, and the linear mel."""

    values: NDArray[np.float32]
    """Stored values `[K, T]`."""
    linear: NDArray[np.float32]
    """Linear mel `[K, T]`, clamped as the scale clamps."""


def bank(config: MelConfig) -> NDArray[np.float32]:
    """Librosa's filterbank `[K, N]`, or one that librosa does not have."""
    if config.filterbank is not None or config.triangles != "hz":
        return filterbank(config).astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters")
        values: NDArray[np.float32] = librosa.filters.mel(
            sr=config.filterbank_rate,
            n_fft=config.n_fft,
            n_mels=config.n_mels,
            fmin=config.fmin,
            fmax=config.fmax,
            htk=config.mel_scale == "htk",
            norm=config.norm,
        )
    return values


def window(config: MelConfig) -> Any:
    """The analysis window for librosa: a name or values `[win_length]`."""
    symmetric: dict[str, Callable[[int], Any]] = {
        "hann_symmetric": np.hanning,
        "hamming_symmetric": np.hamming,
        "blackman_symmetric": np.blackman,
        "povey": lambda length: np.hanning(length) ** 0.85,
    }
    if config.window in symmetric:
        return symmetric[config.window](config.win_length)
    return "boxcar" if config.window == "rectangular" else config.window


def stft(config: MelConfig, wave: Wave) -> NDArray[Any]:
    """Librosa's STFT `[N, T]` of samples `[L]`."""
    if config.preemphasis:
        wave = np.append(wave[:1], wave[1:] - np.float32(config.preemphasis) * wave[:-1])
    centred, win, length = config.padding.startswith("center"), window(config), config.win_length
    mode: Any = "constant" if config.padding == "center_constant" else "reflect"
    if config.padding == "hifigan":
        wave = np.pad(wave, (config.frame_length - config.hop_length) // 2, mode="reflect")
    if config.frame_length != config.n_fft:
        # Zeros behind the frame: a window of n_fft that holds them.
        if centred:
            wave, centred = np.pad(wave, config.frame_length // 2, mode=mode), False
        behind = config.n_fft - config.frame_length
        win = librosa.filters.get_window(win, length)
        before = (config.frame_length - length) // 2
        wave = np.pad(wave, (0, behind))
        win, length = np.pad(win, (before, config.n_fft - length - before)), config.n_fft
    spectrum: NDArray[Any] = librosa.stft(
        wave,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=length,
        window=win,
        center=centred,
        pad_mode=mode,
    )
    return spectrum[:, :-1] if config.drop_last else spectrum


def extract(config: MelConfig, wave: Wave) -> Mel:
    """The mel of samples `[L]`, by librosa's STFT and filterbank."""
    spectrum = stft(config, wave)
    magnitude = np.maximum(np.abs(spectrum), config.magnitude_floor)
    magnitude = np.sqrt(magnitude**2 + config.magnitude_eps)
    return store(config, bank(config) @ magnitude**config.power)


def store(config: MelConfig, linear: NDArray[np.float32]) -> Mel:
    """A linear mel `[K, T]` as stored by the config's front-end."""
    scale = config.scale
    values: NDArray[np.floating]
    if scale.kind == "linear":
        values = linear
    elif isinstance(scale, LogScale):
        linear = np.maximum(linear, scale.clip)
        logarithm = np.log if scale.kind == "ln" else np.log10
        values = logarithm(linear + scale.offset)
    elif scale.kind == "whisper":
        linear = np.maximum(linear, max(1e-10, float(linear.max()) * 1e-8))
        values = (np.log10(linear) + 4.0) / 4.0
    elif scale.kind == "coqui":
        db = 20.0 / config.power * np.log10(np.maximum(1e-8, linear)) - scale.ref_db
        normal = (db - scale.min_db) / -scale.min_db
        values = np.clip(
            2 * scale.max_norm * normal - scale.max_norm, -scale.max_norm, scale.max_norm
        )
        lowest = 10.0 ** ((scale.min_db + scale.ref_db) * config.power / 20.0)
        linear = np.maximum(linear, lowest)
    elif config.power not in (1, 2):
        powers = linear.astype(np.float64) ** (2.0 / config.power)
        values = librosa.power_to_db(
            powers, ref=scale.reference, amin=scale.floor, top_db=scale.top_db
        )
    else:
        to_db = librosa.power_to_db if config.power == 2 else librosa.amplitude_to_db
        amin = scale.floor if config.power == 2 else scale.floor**0.5
        ref = scale.reference if config.power == 2 else scale.reference**0.5
        values = to_db(linear, ref=ref, amin=amin, top_db=scale.top_db)
    mean, std = (np.reshape(np.asarray(m, np.float64), (-1, 1)) for m in (config.mean, config.std))
    return Mel(((values - mean) / std).astype(np.float32), linear.astype(np.float32))


def librosa_magnitude(config: MelConfig, linear: NDArray[Any]) -> NDArray[Any]:
    """`librosa.feature.inverse.mel_to_stft` `[N, T]` of a linear mel `[K, T]`."""
    magnitude: NDArray[Any]
    if config.triangles != "hz":  # what it does, with triangles that it does not have
        magnitude = librosa.util.nnls(bank(config), linear) ** (1.0 / config.power)
        return magnitude
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters")
        magnitude = librosa.feature.inverse.mel_to_stft(
            linear,
            sr=config.filterbank_rate,
            n_fft=config.n_fft,
            power=float(config.power),
            fmin=config.fmin,
            fmax=config.fmax,
            htk=config.mel_scale == "htk",
            norm=config.norm,
        )
    return magnitude


def librosa_audio(
    config: MelConfig, linear: NDArray[np.float32], n_iter: int, seed: int = 0
) -> Wave:
    """`librosa.feature.inverse.mel_to_audio` on a linear mel `[K, T]`.

    librosa's NNLS stops by absolute tolerances: a mel that peaks above 10,000 (StyleTTS 2's alone)
    keeps it busy for minutes a clip, and is scaled to a peak of 100, where it does better too.
    """
    peak = float(linear.max())
    scale = peak / 100.0 if peak > 1e4 else 1.0
    magnitude = librosa_magnitude(config, linear / scale)
    wave = librosa_griffin_lim(config, magnitude, n_iter, np.random.RandomState(seed))
    return wave * np.float32(scale ** (1 / config.power))


class Drawn(np.random.RandomState):
    """A generator that returns given phases `[N, T]`, as shares of a turn."""

    def __init__(self, phases: NDArray[Any]) -> None:
        super().__init__(0)
        self._turns = phases / (2.0 * np.pi)

    def random(self, size: Any = None) -> Any:
        return self._turns


def librosa_griffin_lim(
    config: MelConfig,
    magnitude: NDArray[Any],
    n_iter: int,
    drawn: np.random.RandomState,
    momentum: float = 0.99,
) -> Wave:
    """`librosa.griffinlim` on a magnitude `[N, T]`, cut to the default length of its frames.

    Its windows stand in the middle of n_fft. Its samples are filtered back from an emphasis.
    """
    wave: Wave = librosa.griffinlim(
        magnitude,
        n_iter=n_iter,
        hop_length=config.hop_length,
        win_length=config.win_length,
        n_fft=config.n_fft,
        window=window(config),
        center=config.padding.startswith("center"),
        pad_mode="constant" if config.padding == "center_constant" else "reflect",
        momentum=momentum,
        random_state=drawn,
    )
    if config.padding == "hifigan":
        wave = wave[(config.n_fft - config.hop_length) // 2 :]
    if config.padding == "none":
        wave = wave[(config.n_fft - config.frame_length) // 2 :]
        # At the edges it divides by windows that are next to zero: spikes that no one would keep.
        within = wave[config.frame_length : -config.frame_length]
        most = float(np.abs(within).max(initial=0.0)) or np.inf
        wave = np.clip(wave, -most, most)
    if config.preemphasis:
        wave = librosa.effects.deemphasis(wave, coef=config.preemphasis, zi=np.zeros(1))
    return wave[: config.samples(magnitude.shape[1])]


def load_torchaudio() -> Any:
    """Torchaudio if it loads here, or None.

    Its newest wheel is built for CUDA and loads beside a CPU torch only when the shared libraries
    in its lib folder are moved away, which the two transforms used here do not need.
    """
    try:
        return importlib.import_module("torchaudio")
    except (ImportError, OSError):
        return None


def torchaudio_magnitude(config: MelConfig, linear: NDArray[Any]) -> NDArray[Any]:
    """`InverseMelScale` of torchaudio: the magnitude `[N, T]` of a linear mel `[K, T]`."""
    spectrum = load_torchaudio().transforms.InverseMelScale(
        n_stft=config.n_bins,
        n_mels=config.n_mels,
        sample_rate=config.filterbank_rate,
        f_min=config.fmin,
        f_max=config.fmax,
        norm=config.norm,
        mel_scale=config.mel_scale,
    )(torch.from_numpy(linear.astype(np.float32)))
    magnitude: NDArray[Any] = spectrum.numpy() ** (1.0 / config.power)
    return magnitude


def torchaudio_griffin_lim(
    config: MelConfig, magnitude: NDArray[Any], n_iter: int, seed: int = 0
) -> Wave:
    """`GriffinLim` of torchaudio on a magnitude `[N, T]`, cut to the default length."""
    torch.manual_seed(seed)
    wave = load_torchaudio().transforms.GriffinLim(
        n_fft=config.n_fft,
        n_iter=n_iter,
        win_length=config.win_length,
        hop_length=config.hop_length,
        power=1.0,
    )(torch.from_numpy(magnitude.astype(np.float32)))
    # Its frames are always centred; HiFi-GAN's first one starts later by this much.
    late = config.n_fft // 2 - config.pad
    samples: Wave = np.pad(wave.numpy(), (late, config.hop_length))
    return samples[: config.samples(magnitude.shape[1])]


def torchaudio_audio(
    config: MelConfig, linear: NDArray[np.float32], n_iter: int, seed: int = 0
) -> Wave:
    """`InverseMelScale` and `GriffinLim` of torchaudio on a linear mel `[K, T]`."""
    torch.set_num_threads(1)  # the seconds are those of one core
    return torchaudio_griffin_lim(config, torchaudio_magnitude(config, linear), n_iter, seed)
