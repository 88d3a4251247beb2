"""Mel to waveform by ADMM as the paper says it, with all three of its variables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.twins.frames import Frames, Real
from benchmarks.twins.inversions import transpose


def admm_mel(
    frames: Frames,
    bank: Real,
    mel: Real,
    bound: NDArray[np.bool_],
    phases: Real,
    n_iter: int,
    rho: float = 0.1,
) -> Real:
    """Masuyama, Ueno and Ono 2025 (arXiv 2501.05557) on a linear mel `[K, T]`.

    Where `bound` holds the mel is an upper bound. For a mel of another power than 1 the step aims
    at the magnitude mel that the spectrum would have with each band's power put right.
    """
    power = frames.config.power
    squares = np.mean(np.sum(bank**2, axis=1))
    meet = bank.T @ np.linalg.inv(bank @ bank.T + rho * squares * np.eye(len(bank)))
    covered = (bank.sum(axis=0) > 0)[:, None]
    level = transpose(bank, np.where(bound, 0.0, mel)) ** (1 / power)
    y = level * np.exp(1j * phases)
    u = np.zeros_like(y)
    for _ in range(n_iter):
        x = frames.project(y + u)
        u = u + y - x
        d = x - u
        has = bank @ np.abs(d)
        aim = mel
        if power != 1:
            present = bank @ np.abs(d) ** power
            ratio = np.divide(mel, present, out=np.ones_like(mel), where=present > 0)
            aim = has * ratio ** (1 / power)
        short = np.where(bound, np.minimum(aim - has, 0.0), aim - has)
        y = np.maximum(np.abs(d) + meet @ short, 0.0) * covered * np.exp(1j * np.angle(d))
    return frames.wave(y)
