"""Signals that tests make for themselves: a voice-like one, a tone, silence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
