"""Signals that tests make for themselves: a voice-like one, a tone, silence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]


def voice(seconds: float = 1.0, rate: int = 22050, seed: int = 0) -> NDArray[np.float32]:
    """Something like speech: gliding harmonics under moving formants, breath, and pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.9 * t + seed) + 8 * np.sin(2 * np.pi * 4.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 600 + 350 * np.sin(2 * np.pi * 1.7 * t + seed)
    wave = np.zeros_like(t)
    for k in range(1, 28):
        shape = np.exp(-(((k * pitch - formant) / 500) ** 2)) + 0.3 * np.exp(
            -(((k * pitch - 2300) / 700) ** 2)
        )
        wave += (shape + 0.02) * np.sin(k * phase)
    wave += 0.03 * rng.standard_normal(t.size)
    syllables = np.clip(np.sin(2 * np.pi * 2.1 * t) + 0.7, 0, 1)
    wave *= syllables
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def tone(hz: float, seconds: float = 0.5, rate: int = 22050) -> NDArray[np.float32]:
    """A sine at half of full scale."""
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def _resonated(source: NDArray[np.float64], hz: float, width: float, rate: int) -> Signal:
    """A two-pole resonator of gain 1 at its frequency, as a cascade's formant."""
    r, angle = np.exp(-np.pi * width / rate), 2 * np.pi * hz / rate
    count = 1 << (2 * len(source) - 1).bit_length()
    z = np.exp(-2j * np.pi * np.arange(count // 2 + 1) / count)
    response = 1.0 / (1 - 2 * r * np.cos(angle) * z + r * r * z * z)
    peak = abs(
        1.0 / (1 - 2 * r * np.cos(angle) * np.exp(-1j * angle) + r * r * np.exp(-2j * angle))
    )
    return np.fft.irfft(np.fft.rfft(source, count) * response / peak, count)[: len(source)]


# Formants of a few vowels, Hz; None is a fricative, and a pause where it is empty.
_SOUNDS: tuple[tuple[int, ...] | None, ...] = (
    *((730, 1090, 2440), None, (270, 2290, 3010), (300, 870, 2240), ()),
    *((530, 1840, 2480), None, (570, 840, 2410), (660, 1720, 2410), ()),
)

_WIDTHS_AND_GAINS = (70, 1.0), (100, 0.4), (140, 0.2), (250, 0.1)


def speech(seconds: float = 2.0, rate: int = 22050, seed: int = 0) -> NDArray[np.float32]:
    """Vowels, fricatives and pauses in a quiet room: levels as those of recorded speech."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    wave, at, k = np.zeros(count), 0, seed
    while at < count:
        n = min(round(rng.uniform(0.07, 0.2) * rate), count - at)
        sound = _SOUNDS[k % len(_SOUNDS)]
        t = np.arange(n) / rate
        fade = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.015)
        if sound is None:
            noise = rng.standard_normal(n)
            part = 0.15 * _resonated(noise, min(5200, 0.4 * rate), 2500, rate)
        elif sound:
            pitch = np.cumsum(rng.uniform(95, 220) * (1 + 0.06 * np.sin(9 * t + k))) / rate
            pulses = np.diff(np.floor(pitch), prepend=0.0) + 0.003 * rng.standard_normal(n)
            part = np.zeros(n)
            for hz, (width, gain) in zip((*sound, 3500), _WIDTHS_AND_GAINS, strict=True):
                part += gain * _resonated(pulses, min(hz, 0.45 * rate), width, rate)
            part *= rng.uniform(0.4, 1.0)
        else:
            part = np.zeros(n)
        wave[at : at + n] = part * fade
        at, k = at + n, k + 1
    wave = np.tanh(5 * wave / np.abs(wave).max()) + 4e-4 * rng.standard_normal(count)
    return (0.5 * wave).astype(np.float32)


def music(seconds: float = 2.0, rate: int = 22050, seed: int = 0) -> NDArray[np.float32]:
    """Plucked chords with many partials, and a drum of noise."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    wave = 3e-4 * rng.standard_normal(count)
    for beat, at in enumerate(range(0, count, rate // 3)):
        t = np.arange(count - at) / rate
        wave[at:] += 0.25 * rng.standard_normal(len(t)) * np.exp(-t * (60 if beat % 2 else 25))
        for hz in 110.0 * 2 ** (np.array([0, 4, 7, 12, 16]) / 12) * (1 + (beat // 2 % 3) / 4):
            for partial in range(1, 25):
                f = partial * hz * (1 + 3e-4 * partial * partial)
                if f < 0.45 * rate:
                    decay = np.exp(-t * (1.5 + 0.9 * partial))
                    phase = rng.uniform(0, 2 * np.pi)
                    wave[at:] += 0.2 / partial * decay * np.sin(2 * np.pi * f * t + phase)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)
