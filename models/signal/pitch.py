"""Pitch: the period around each frame of a pack, and how periodic its signal is there.

The autocorrelation of a windowed stretch divided by the window's own (Boersma 1993). Neighbouring
frames agree on a period by passing messages a few frames far, which needs no pass from the first
frame to the last and treats all rows of a pack at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.signal.packed_stft import PackedStft

FMIN, FMAX = 60.0, 550.0
"""Lowest and highest fundamental frequency that is looked for, Hz."""
RATE = 6400.0
"""Highest rate at which a signal is looked at as it is, Hz; above it is decimated."""
TAPS = 0.0011
"""Half length of a filter, seconds."""

# Three periods of `FMIN` under a Hann window, whose middle counts most.
_SECONDS = 0.045
_PERIODS_PER_OCTAVE = 36
# Periodicity that a period twice as long has to have more: all multiples of a period fit as well.
_OCTAVE_COST = 0.03
# Frames that a message passes, and octaves a second that a fundamental may move.
_FRAMES, _GLIDE = 5, 2.0
# Values of the autocorrelation in a second, linear between: a period of 2 ms is exact to 0.5 %.
_RESOLUTION = 11000.0
_TINY = 1e-12
_ROWS = 64  # that are looked at together on a CPU, whose cache holds them


@dataclass(frozen=True, eq=False)
class Pitch:
    """Of every row of a pack; between its clips there is a period too, and no periodicity."""

    seconds: Tensor
    """Period `[rows]`."""
    periodicity: Tensor
    """Normalised autocorrelation a period away `[rows]`, at most 1."""


def _transform(least: int) -> int:
    """The shortest of 2^k and 1.5 2^k points."""
    whole: int = 1 << (least - 1).bit_length()
    return whole * 3 // 4 if whole * 3 // 4 >= least else whole


@lru_cache(maxsize=8)
def _grid(rate: float) -> tuple[NDArray[np.float64], int, int]:
    """Periods that are looked for `[P]` in samples, samples of a stretch, points of transforms."""
    octaves = np.log2(FMAX / FMIN)
    steps = np.arange(round(octaves * _PERIODS_PER_OCTAVE) + 1) / _PERIODS_PER_OCTAVE
    size = round(_SECONDS * rate) | 1
    return rate / FMAX * 2.0**steps, size, _transform(size + math.ceil(rate / FMIN) + 1)


def find_pitch(pack: PackedStft) -> Pitch:
    """Periods of a pack's present signal.

    Parameters
    ----------
    pack
        The pack, at any rate; what lies above some 2.5 kHz is not needed.

    Returns
    -------
    Pitch
        In bits that do not depend on what a clip is packed with, on a CPU.

    References
    ----------
    Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound".
    """
    config, device = pack.plan.config, pack.plan.device
    step = max(1, round(config.sample_rate / RATE))
    rate = config.sample_rate / step
    signal = pack.signal
    if step > 1:
        signal = pack.backend.filtered(pack, low_pass(config.sample_rate, 0.4 * rate))
    periods, length, points = _grid(rate)
    window = np.hanning(length + 2)[1:-1]
    finer = math.ceil(_RESOLUTION / rate)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, points)) ** 2, finer * points)
    places = np.floor(finer * periods).astype(np.int64)
    share = finer * periods - places

    def put(values: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(values, dtype=signal.dtype, device=device)

    below, above = put((1.0 - share) * own[0] / own[places]), put(share * own[0] / own[places + 1])
    index = torch.as_tensor(places, device=device)
    shape, weights = put(window), torch.arange(length, device=device) * step
    first, end, centre = stretches(pack, step * (length // 2))
    found = torch.zeros(pack.rows, len(periods), dtype=signal.dtype, device=device)
    size = _ROWS if device.type == "cpu" else pack.rows
    for begin in range(0, pack.used, size):
        run = slice(begin, min(begin + size, pack.used))
        at = centre[run, None] + weights
        held = (at >= first[run, None]) & (at < end[run, None])
        frames = signal[at.clamp(0, signal.numel() - 1)].mul_(held).mul_(shape)
        spectra = torch.view_as_real(torch.fft.rfft(frames, n=points)).square_()
        power = spectra[..., 0] + spectra[..., 1]
        power[:, 0] = 0.0
        alike = torch.fft.irfft(power, n=finer * points)
        energy = alike[:, :1] + _TINY
        found[run] = (alike[:, index] * below + alike[:, index + 1] * above) / energy
    return _agreed(pack, found, periods / rate)


def stretches(pack: PackedStft, half: int) -> tuple[Tensor, Tensor, Tensor]:
    """First and end sample of each row's clip, and the first one of a stretch about its middle.

    Parameters
    ----------
    pack
        The pack.
    half
        Samples of the stretch on either side of the frame's middle.

    Returns
    -------
    tuple of Tensor
        Positions in the pack's signal `[rows]`; rows between clips have no samples.
    """
    first = np.zeros(pack.rows, np.int64)
    end = np.zeros(pack.rows, np.int64)
    for start, frames, rows in pack.extents:
        first[start : start + frames] = start * pack.hop
        end[start : start + frames] = (start + rows) * pack.hop
    centre = np.arange(pack.rows) * pack.hop + len(pack.window) // 2 - half
    tables = (torch.from_numpy(table) for table in (first, end, centre))
    a, b, c = (table.to(pack.plan.device) for table in tables)
    return a, b, c


def _agreed(pack: PackedStft, found: Tensor, periods: NDArray[np.float64]) -> Pitch:
    """The periods in seconds that rows agree on, from the periodicity of each `[rows, P]`."""
    octaves = torch.arange(len(periods), device=found.device).to(found.dtype) / _PERIODS_PER_OCTAVE
    score = (found - octaves * _OCTAVE_COST).clamp_min_(0.0)
    config = pack.plan.config
    moves = _GLIDE * _PERIODS_PER_OCTAVE * config.hop_length / config.sample_rate
    reach = max(1, round(moves))

    def passed(values: Tensor, by: int) -> Tensor:
        """The best of nearby periods, from the row before or behind."""
        best = torch.nn.functional.max_pool1d(values[None], 2 * reach + 1, 1, reach)[0]
        out = torch.zeros_like(best)
        if by > 0:
            out[1:] = best[:-1]
        else:
            out[:-1] = best[1:]
        return out

    inside = torch.zeros(len(score), 1, dtype=score.dtype, device=score.device)
    for start, frames, _ in pack.extents:
        inside[start : start + frames] = 1.0
    score *= inside
    earlier = later = torch.zeros_like(score)
    for _ in range(_FRAMES):
        earlier = passed((score + earlier) * inside, 1)
        later = passed((score + later) * inside, -1)
    best = (score + earlier + later)[:, 1:-1].argmax(dim=1) + 1
    before, here, behind = (found.gather(1, (best + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = before - 2.0 * here + behind
    offset = ((before - behind) / bend * 0.5).nan_to_num_(0.0).clamp_(-0.5, 0.5)
    offset = torch.where(bend < 0.0, offset, torch.zeros_like(offset))
    peak = here - (before - behind) * offset * 0.25
    table = torch.as_tensor(periods, dtype=found.dtype, device=found.device)
    growth = 2.0 ** (1.0 / _PERIODS_PER_OCTAVE) - 1.0
    seconds = table[best] * (1.0 + growth * offset)
    return Pitch(seconds, (peak * inside[:, 0]).clamp_(0.0, 1.0))


def low_pass(rate: float, edge: float) -> NDArray[np.float32]:
    """Taps `[2 H + 1]` of a linear-phase filter that passes what lies below `edge` Hz."""
    half = round(TAPS * rate)
    n = np.arange(-half, half + 1)
    taps = np.sinc(2.0 * edge / rate * n) * np.hanning(2 * half + 3)[1:-1]
    return np.asarray(taps / taps.sum(), np.float32)
