"""Start phases by integrating the phase's gradient, which the magnitude gives away."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import MelConfig
from models.errors import Invalid
from models.stft import PackedStft

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
            integrate(level, over_time, over_bins, _FAINT * loudest, phases)
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


def _slope(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Central differences, one-sided at the ends."""
    if values.shape[axis] < 2:
        return np.zeros_like(values)
    slope: NDArray[np.float64] = np.gradient(values, axis=axis)
    return slope


def integrate(
    level: NDArray[np.float64],
    over_time: NDArray[np.float64],
    over_bins: NDArray[np.float64],
    faint: float,
    phases: NDArray[np.float64],
) -> None:
    """Fill `phases` `[T, N]` where `level` exceeds `faint`, the loudest known bin's neighbours
    first. Each island of loud bins starts with zero at its loudest.
    """
    frames, n_bins = level.shape
    # Python's own lists and floats: three times as fast in a loop as numpy's scalars. A border of
    # bins that are done spares every step a look at the edges.
    width = n_bins + 2
    todo = np.zeros((frames + 2, width), dtype=bool)
    todo[1:-1, 1:-1] = level > faint

    def flat(values: NDArray[np.float64]) -> list[float]:
        return np.pad(values, 1).ravel().tolist()

    loud, along, across = flat(-level), flat(0.5 * over_time), flat(0.5 * over_bins)
    wanted, phase = todo.ravel().tolist(), flat(phases)
    candidates = np.flatnonzero(todo.ravel())
    order = candidates[np.argsort(np.pad(-level, 1).ravel()[candidates], kind="stable")]
    push, pop = heapq.heappush, heapq.heappop
    heap: list[tuple[float, int]] = []
    for seed in order.tolist():
        if not wanted[seed]:
            continue
        wanted[seed], phase[seed] = False, 0.0
        push(heap, (loud[seed], seed))
        while heap:
            _, at = pop(heap)
            here = phase[at]
            to = at + width
            if wanted[to]:
                wanted[to], phase[to] = False, here + along[at] + along[to]
                push(heap, (loud[to], to))
            to = at - width
            if wanted[to]:
                wanted[to], phase[to] = False, here - along[at] - along[to]
                push(heap, (loud[to], to))
            to = at + 1
            if wanted[to]:
                wanted[to], phase[to] = False, here + across[at] + across[to]
                push(heap, (loud[to], to))
            to = at - 1
            if wanted[to]:
                wanted[to], phase[to] = False, here - across[at] - across[to]
                push(heap, (loud[to], to))
    phases[:] = np.array(phase).reshape(frames + 2, width)[1:-1, 1:-1]
