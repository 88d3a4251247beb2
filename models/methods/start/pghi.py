"""Start phases by integration of the phase gradient, which follows from the magnitude."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unmel.models.backends.base import Backend, Doubles, Islands
from unmel.models.backends.reference import REFERENCE
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.window import SHAPES
from unmel.models.methods.start.random_phases import frame_keys, step_of
from unmel.models.signal.packed_stft import PackedStft

# Bins below this share of a clip's loudest are not integrated.
_FAINT = 1e-5
_MIN_OVERLAP = 4


def pghi(pack: PackedStft, magnitude: Tensor, seeds: Sequence[int], turn: float) -> Tensor:
    """Phase gradient heap integration, from the loudest bins outwards.

    The gradient follows from the log magnitude for a Gaussian window. With `s = log A`, hop `a`,
    `M` points and the Gaussian `exp(-pi t^2 / g)` nearest to the window, phases counted from the
    window's middle advance by

        2 pi k a / M + (a M / g) ds/dk      from frame to frame
        -(g / (a M)) ds/dt                  from bin to bin

    as means of the gradients at both ends. Bins 100 dB below a clip's loudest get random phases.
    The heap runs on the CPU, clip by clip.

    Parameters
    ----------
    pack
        Pack of the clips.
    magnitude
        Magnitude `[rows, N]`.
    seeds
        Seed of each clip.
    turn
        Share of the circle of the random phases.

    Returns
    -------
    Tensor
        Phases `[rows, N]`, radians, counted from the first sample of a frame's window.

    Raises
    ------
    Invalid
        Where fewer than four windows share a sample, which makes the differences too coarse.

    References
    ----------
    Z. Prusa, P. Balazs and P. L. Sondergaard, "A noniterative method for reconstruction of phase
    from STFT magnitude", 2017.
    """
    config = pack.plan.config
    check_overlap(config)
    gauss = SHAPES[config.window].gauss * config.win_length**2
    steps = config.hop_length * config.n_fft / gauss
    bins = np.arange(config.n_bins)
    turning = 2.0 * np.pi * bins * config.hop_length / config.n_fft
    middle = 2.0 * np.pi * bins * (config.win_length // 2) / config.n_fft
    parts = []
    for (start, frames, _), first, seed in zip(pack.extents, pack.firsts, seeds, strict=True):
        level = magnitude[start : start + frames].cpu().double().numpy()
        drawn = torch.empty(level.shape, dtype=torch.float64)
        keys = torch.from_numpy(frame_keys(seed, range(first, first + frames)))
        REFERENCE.draw(keys, step_of(turn), drawn)
        phases: Doubles = drawn.numpy()
        loudest = float(level.max())
        if loudest > 0.0:
            log = np.log(np.maximum(level, 1e-10 * loudest))
            over_time = turning + steps * _slope(log, 1)
            over_bins = -_slope(log, 0) / steps
            integrate(level, over_time, over_bins, _FAINT * loudest, phases, pack.backend)
        parts.append(torch.from_numpy(np.remainder(phases - middle, 2.0 * np.pi)))
    return pack.spread_rows([part.to(pack.plan.dtype) for part in parts])


def check_overlap(config: MelConfig) -> None:
    """Refuse a hop that is too long for differences between frames.

    Raises
    ------
    Invalid
        For a window of fewer than four hops.
    """
    if config.win_length < _MIN_OVERLAP * config.hop_length:
        raise Invalid(
            "start",
            f"'pghi' with win_length {config.win_length} and hop_length {config.hop_length}",
            "a window of at least four hops, or another start",
        )


def _slope(values: Doubles, axis: int) -> Doubles:
    """Central differences, one-sided at the ends."""
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    slope: Doubles = np.gradient(values, axis=axis)
    return slope


def integrate(
    level: Doubles,
    over_time: Doubles,
    over_bins: Doubles,
    faint: float,
    phases: Doubles,
    backend: Backend,
) -> None:
    """Integrate the phase gradient in place, at each step from the loudest known bin.

    Each connected island of bins starts with zero at its loudest bin.

    Parameters
    ----------
    level
        Magnitude `[T, N]`.
    over_time, over_bins
        Phase gradient per frame and per bin `[T, N]`, radians.
    faint
        Bins with a level up to this keep their phases.
    phases
        Phases `[T, N]`, overwritten elsewhere.
    backend
        Backend with the heap.
    """
    frames, n_bins = level.shape
    # A border of finished bins saves a test for the edges in every step.
    width = n_bins + 2
    todo = np.pad(level > faint, 1).ravel()
    loud, along, across, phase = (
        np.pad(values, 1).ravel() for values in (-level, 0.5 * over_time, 0.5 * over_bins, phases)
    )
    candidates = np.flatnonzero(todo)
    order = candidates[np.argsort(loud[candidates], kind="stable")]
    backend.grow_islands(Islands(order, loud, along, across, todo, phase, width))
    phases[:] = phase.reshape(frames + 2, width)[1:-1, 1:-1]
