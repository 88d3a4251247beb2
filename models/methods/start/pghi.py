"""Start phases by integrating the phase's gradient, which the magnitude gives away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend, Islands
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.signal.packed_stft import PackedStft

Floats = NDArray[np.float64]

# The Gaussian exp(-pi t^2 / g) nearest to a Hann window of length w has g = 0.25645 w^2.
GAUSS_OF_HANN = 0.25645
# Bins this far below a clip's loudest are too faint to carry a phase to their neighbours.
_FAINT = 1e-5
_LEAST_OVERLAP = 4


def pghi(pack: PackedStft, magnitude: Tensor, seeds: Sequence[int], turn: float) -> Tensor:
    """Phase gradient heap integration: the gradient that a Gaussian window's log magnitude
    implies, integrated from the loudest bins outwards.

    Prusa, Balazs and Sondergaard 2017. With `s = log A`, hop `a`, `M` points and the Gaussian
    `exp(-pi t^2 / g)` nearest to the window, phases counted from the window's middle advance by

        2 pi k a / M + (a M / g) ds/dk      from frame to frame
        -(g / (a M)) ds/dt                  from bin to bin

    as means of the gradients at both ends. Bins 100 dB below a clip's loudest take random
    phases from the clip's seed. On the CPU, clip by clip. Where fewer than four windows share a
    sample the differences are too coarse, and the start is refused.
    """
    config = pack.plan.config
    check_overlap(config)
    gauss = GAUSS_OF_HANN * config.win_length**2
    steps = config.hop_length * config.n_fft / gauss
    bins = np.arange(config.n_bins)
    turning = 2.0 * np.pi * bins * config.hop_length / config.n_fft
    middle = 2.0 * np.pi * bins * (config.win_length // 2) / config.n_fft
    parts = []
    for (frames, _), start, seed in zip(pack.clips, pack.starts, seeds, strict=True):
        level = magnitude[start : start + frames].cpu().double().numpy()
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(level.shape, generator=generator, dtype=torch.float64).numpy()
        phases = 2.0 * np.pi * turn * drawn
        loudest = float(level.max())
        if loudest > 0.0:
            log = np.log(np.maximum(level, 1e-10 * loudest))
            over_time = turning + steps * _slope(log, 1)
            over_bins = -_slope(log, 0) / steps
            integrate(level, over_time, over_bins, _FAINT * loudest, phases, pack.backend)
        parts.append(torch.from_numpy(np.remainder(phases - middle, 2.0 * np.pi)))
    return pack.spread_rows([part.to(pack.plan.dtype) for part in parts])


def check_overlap(config: MelConfig) -> None:
    """Invalid for a window and hop that the gradient cannot be told from."""
    if config.win_length < _LEAST_OVERLAP * config.hop_length:
        raise Invalid(
            "start",
            f"'pghi' with win_length {config.win_length} and hop_length {config.hop_length}",
            "a window of at least four hops, or another start",
        )


def _slope(values: Floats, axis: int) -> Floats:
    """Central differences, one-sided at the ends."""
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    slope: Floats = np.gradient(values, axis=axis)
    return slope


def integrate(
    level: Floats,
    over_time: Floats,
    over_bins: Floats,
    faint: float,
    phases: Floats,
    backend: Backend,
) -> None:
    """Fill `phases` `[T, N]` where `level` exceeds `faint`, the loudest known bin's neighbours
    first. Each island of loud bins starts with zero at its loudest.
    """
    frames, n_bins = level.shape
    # A border of bins that are done spares every step a look at the edges.
    width = n_bins + 2
    todo = np.pad(level > faint, 1).ravel()
    loud, along, across, phase = (
        np.pad(values, 1).ravel() for values in (-level, 0.5 * over_time, 0.5 * over_bins, phases)
    )
    candidates = np.flatnonzero(todo)
    order = candidates[np.argsort(loud[candidates], kind="stable")]
    backend.grow_islands(Islands(order, loud, along, across, todo, phase, width))
    phases[:] = phase.reshape(frames + 2, width)[1:-1, 1:-1]
