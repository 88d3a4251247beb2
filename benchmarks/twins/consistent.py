"""Mel to waveform as docs/method.md says it, octave after octave: Unmel's own default method."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.twins.frames import Complex, Frames, Real
from benchmarks.twins.inversions import spread, transpose
from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.methods.schedule import Schedule

Marks = NDArray[np.bool_]


def aim(config: MelConfig, values: NDArray[np.float32]) -> tuple[Real, Marks]:
    """Of a front-end's values `[K, T]` the linear mel, and where it is an upper bound only."""
    weight = filterbank(config).sum(axis=1, keepdims=True)
    linear = config.decompress(torch.from_numpy(values.T.astype(np.float64)))
    mel = linear.numpy().T * (weight > 0)
    silence = weight * np.hypot(config.magnitude_floor, config.magnitude_eps**0.5) ** config.power
    floor = np.maximum(silence, config.scale.clamp_level(float(mel.max()), config.power))
    # What sqrt(|X|^2 + e) makes of level bins: their powers add up, in a band as in a bin.
    added, squared = weight * config.magnitude_eps ** (config.power / 2), 2 / config.power
    level = np.maximum(mel**squared - added**squared, 0.0) ** (1 / squared)
    return level, (mel <= 1.02 * floor) & (floor > 0)


def consistent(
    config: MelConfig, mel: Real, bound: Marks, phases: Real, schedule: Schedule, samples: int
) -> Real:
    """The samples `[L]` of a linear mel `[K, T]`, an upper bound where `bound` holds.

    It begins with `phases` `[N, T]`, counted from the first sample of a frame's window: that is
    the same instant at every rate.
    """
    bank = filterbank(config)
    alive = bank.any(axis=1)
    bank, mel, bound = bank[alive], mel[alive], bound[alive]
    octaves = [(config, bank)]
    while schedule.n_iter and len(octaves) < len(schedule.shares) and (lower := below(*octaves[0])):
        octaves.insert(0, lower)
    level = transpose(bank, np.where(bound, 0.0, mel)) ** (1 / config.power)
    spectrum = level * np.exp(1j * phases)
    for (here, part), stage in zip(octaves, schedule.stages(len(octaves)), strict=True):
        step, bands = config.hop_length // here.hop_length, len(part)
        frames = Frames(here, mel.shape[1], -(-samples // step), step)
        reach = int(np.flatnonzero(part.any(axis=0))[-1]) + 1
        begun = spectrum[: here.n_bins] / from_window(here)
        begun[reach:] = 0.0
        wave = frames.wave(iterated(frames, part, mel[:bands], bound[:bands], begun, stage))
        spectrum[:reach] = (frames.spectrum(wave) * from_window(here))[:reach]
    return wave


def iterated(
    frames: Frames, bank: Real, mel: Real, bound: Marks, c: Complex, schedule: Schedule
) -> Complex:
    """The last `C` of one octave's iterations from its first, in the symbols of docs/method.md."""
    n, p = schedule.n_iter, frames.config.power
    before = None
    for i in range(n):
        a, m = schedule.momentum.at(i, n), schedule.reflection.at(i, n)
        b, g = schedule.blend.at(i, n), schedule.exponent.at(i, n)
        r = frames.project(c)
        t = r + m * (r - c)
        if before is not None:
            t += a * (r - before)
        q = b * np.abs(r) + (1 - b) * np.abs(t)
        has, most = bank @ q**p, np.where(bound, 1.0, 1e4)
        ratio = np.minimum(np.divide(mel, has, out=most.copy(), where=has > 0), most)
        c = np.exp(1j * np.angle(t)) * q * (spread(bank).T @ ratio ** (g / p))
        before = r
    return c


def below(config: MelConfig, bank: Real) -> tuple[MelConfig, Real] | None:
    """The config of the octave below and the bands that lie in it whole, or None.

    There is none of bands that are not runs of bins, each beginning and ending no lower than the
    one before and touching none but its neighbours.
    """
    runs = [np.flatnonzero(band) for band in bank]
    if any(len(run) <= run[-1] - run[0] for run in runs):
        return None
    for k, run in enumerate(runs[1:]):
        if run[0] < runs[k][0] or run[-1] < runs[k][-1] or (k and run[0] <= runs[k - 1][-1]):
            return None
    lengths = config.n_fft // 2, config.hop_length, config.win_length, config.lead
    if config.n_fft < 64 or config.n_fft % 2 or any(length % 2 for length in lengths):
        return None
    names = "n_fft", "hop_length", "win_length"
    half = config.model_copy(update={name: getattr(config, name) // 2 for name in names})
    whole = ~bank[:, half.n_bins - 3 :].any(axis=1)
    return (half, bank[whole, : half.n_bins]) if whole.sum() >= 8 else None


def from_window(config: MelConfig) -> Complex:
    """`[N, 1]`: turns phases counted from a frame's first sample into those from its window's."""
    late = (config.frame_length - config.win_length) // 2
    return np.asarray(np.exp(2j * np.pi * np.arange(config.n_bins)[:, None] * late / config.n_fft))
