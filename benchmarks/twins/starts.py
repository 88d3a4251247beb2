"""First phases as the papers say them, `[N, T]` of a magnitude `[N, T]`, bin after bin."""

from __future__ import annotations

import heapq

import numpy as np

from benchmarks.twins.frames import Real
from unmel.models.mel.config import MelConfig


def random(config: MelConfig, magnitude: Real, seed: int) -> Real:
    """Griffin and Lim 1984; drawn as Unmel draws it, so that both can start from the same."""
    return 2.0 * np.pi * directions(magnitude.shape, seed) / 2**16


def directions(shape: tuple[int, ...], seed: int) -> Real:
    """Whole numbers below 2^16 `[N, T]`: a hash of seed and frame, then one of it and the bin."""
    n_bins, frames = shape
    columns = []
    for t in range(frames):
        key = _mixed(_mixed(seed + 0x9E3779B97F4A7C15) + t * 0x9E3779B97F4A7C15)
        x = (key + np.arange(n_bins, dtype=object) * 0x9E3779B9) % 2**32
        x = ((x ^ x // 2**16) * 0x7FEB352D + key // 2**32) % 2**32
        x = (x ^ x // 2**15) * 0x846CA68B % 2**32
        columns.append(x // 2**16)
    return np.array(columns).T.astype(np.float64)


def _mixed(number: int) -> int:
    """What SplitMix64 makes of its counter."""
    number %= 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def from_middle(config: MelConfig, phases: Real) -> Real:
    """Phases `[N, T]` counted from a frame's middle sample, counted from its first."""
    bins = np.arange(config.n_bins)[:, None]
    return phases - 2.0 * np.pi * bins * (config.n_fft // 2) / config.n_fft


def zero(config: MelConfig, magnitude: Real, seed: int) -> Real:
    """Zero where the window is highest."""
    return from_middle(config, np.zeros_like(magnitude))


def spsi(config: MelConfig, magnitude: Real, seed: int) -> Real:
    """Beauregard, Harish and Wyse 2015."""
    phases = np.zeros_like(magnitude)
    for t in range(magnitude.shape[1]):
        phases[:, t] = spsi_frame(config, magnitude[:, t], phases[:, t - 1] if t else None)
    return from_middle(config, phases)


def spsi_frame(config: MelConfig, level: Real, before: Real | None) -> Real:
    """One frame, its phases counted from its middle: peak after peak, outwards from each."""
    n, turn = len(level), 2.0 * np.pi * config.hop_length / config.n_fft
    phases = np.zeros(n) if before is None else before + turn * np.arange(n)
    for j in range(1, n - 1):
        if not (level[j] > level[j - 1] and level[j] > level[j + 1]):
            continue
        a, b, c = level[j - 1 : j + 2]
        p = 0.5 * (a - c) / (a - 2 * b + c)
        peak = 0.0 if before is None else before[j] + turn * (j + p)
        phases[j] = peak
        for step in (-1, 1):
            k = j + step
            while 0 <= k < n and level[k] < level[k - step]:
                # Past the main lobe, two bins wide, each side lobe turns the sign.
                lobe = max(int(abs(k - (j + p)) * config.win_length / config.n_fft) - 1, 0)
                phases[k] = peak + np.pi * (lobe % 2)
                k += step
    return phases


def pghi(config: MelConfig, magnitude: Real, seed: int) -> Real:
    """Prusa, Balazs and Sondergaard 2017."""
    gauss = 0.25645 * config.win_length**2
    hop, points = config.hop_length, config.n_fft
    log = np.log(np.maximum(magnitude, 1e-10 * magnitude.max()))
    bins = np.arange(config.n_bins)[:, None]
    over_time = 2.0 * np.pi * bins * hop / points + hop * points / gauss * np.gradient(log, axis=0)
    over_bins = -gauss / (hop * points) * np.gradient(log, axis=1)
    phases = random(config, magnitude, seed)
    todo = {(int(k), int(t)) for k, t in np.argwhere(magnitude > 1e-5 * magnitude.max())}
    for seat in sorted(todo, key=lambda at: -magnitude[at]):
        if seat not in todo:
            continue
        todo.remove(seat)
        phases[seat] = 0.0
        heap = [(-magnitude[seat], seat)]
        while heap:
            _, (k, t) = heapq.heappop(heap)
            for to, way, slope in (
                ((k, t + 1), 1, over_time),
                ((k, t - 1), -1, over_time),
                ((k + 1, t), 1, over_bins),
                ((k - 1, t), -1, over_bins),
            ):
                if to in todo:
                    todo.remove(to)
                    phases[to] = phases[k, t] + way * (slope[k, t] + slope[to]) / 2
                    heapq.heappush(heap, (-magnitude[to], to))
    return from_middle(config, phases)
