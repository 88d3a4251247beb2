"""Pitch: the period around each frame of a pack, and how periodic its signal is there.

The autocorrelation of a windowed stretch divided by the window's own (Boersma 1993). Neighbouring
frames agree on a period by passing messages a few frames far, which needs no pass from the first
frame to the last and treats all rows of a pack at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

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
    """Pitch of each row of a pack; between its clips there is a period too, and no periodicity."""

    seconds: Tensor
    """Period `[rows]`."""
    periodicity: Tensor
    """Normalised autocorrelation a period away `[rows]`, at most 1."""


def _transform(least: int) -> int:
    """The shortest of 2^k and 1.5 2^k points."""
    whole: int = 1 << (least - 1).bit_length()
    return whole * 3 // 4 if whole * 3 // 4 >= least else whole


class _Tables(NamedTuple):
    """Constants of a rate; a stretch has `W` samples."""

    seconds: Tensor
    """Periods that are looked for `[P]`."""
    window: Tensor
    """`[W]`."""
    points: int
    """Points of a stretch's transform."""
    finer: int
    """Values of the autocorrelation in a sample."""
    places: Tensor
    """Value below each period `[P]`."""
    below: Tensor
    """Weight of that value, and in `above` of the next one; the window's own is divided out."""
    above: Tensor
    products: Tensor
    """`[points / 2 + 1, P + 1]`: a power spectrum's product with it is the autocorrelation at each
    period, by the same weights, and at no lag. A GPU moves a tenth of the transform's bytes."""


@lru_cache(maxsize=32)
def _tables(rate: float, dtype: torch.dtype, device: torch.device) -> _Tables:
    count = round(np.log2(FMAX / FMIN) * _PERIODS_PER_OCTAVE) + 1
    periods = rate / FMAX * 2.0 ** (np.arange(count) / _PERIODS_PER_OCTAVE)
    length, finer = round(_SECONDS * rate) | 1, math.ceil(_RESOLUTION / rate)
    points = _transform(length + math.ceil(rate / FMIN) + 1)
    window = np.hanning(length + 2)[1:-1]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, points)) ** 2, finer * points)
    places = np.floor(finer * periods).astype(np.int64)
    share = finer * periods - places
    below, above = (1.0 - share) * own[0] / own[places], share * own[0] / own[places + 1]
    waves = np.fft.irfft(np.eye(points // 2 + 1), finer * points)
    waves[0] = 0.0
    alike = waves[:, places] * below + waves[:, places + 1] * above
    floats = periods / rate, window, below, above, np.column_stack([alike, waves[:, 0]])
    # Copies that wait: every stream of a device may read them from now on.
    host = (torch.as_tensor(values, dtype=dtype).to(device) for values in floats)
    seconds, window_, below_, above_, products = host
    index = torch.from_numpy(places).to(device)
    return _Tables(seconds, window_, points, finer, index, below_, above_, products)


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
    config, signal = pack.plan.config, pack.signal
    step = max(1, round(config.sample_rate / RATE))
    rate = config.sample_rate / step
    if step > 1:
        signal = pack.backend.filtered(pack, low_pass(config.sample_rate, 0.4 * rate))
    tables, cpu = _tables(rate, signal.dtype, signal.device), signal.device.type == "cpu"
    length, middle = len(tables.window), len(pack.window) // 2
    # The first row's stretch may begin before the signal, the last one's end behind it.
    before, behind = length // 2 * step - middle, (length - 1) // 2 * step + middle + 1
    ahead = max(0, before)
    after = max(0, (pack.rows - 1) * pack.hop + behind - signal.numel())
    signal = torch.nn.functional.pad(signal, (ahead, after))
    offsets = torch.arange(0, length * step, step, device=signal.device) - length // 2 * step
    first, end = _reach(pack)
    found = signal.new_zeros(pack.rows, len(tables.seconds))
    size = _ROWS if cpu else pack.rows
    space = signal.new_zeros(size, tables.points)
    for begin in range(0, pack.used, size):
        run = slice(begin, min(begin + size, pack.used))
        shape, place = (run.stop - begin, length), begin * pack.hop + ahead - before
        stretches = signal.as_strided(shape, (pack.hop, step), place)
        frames = space[: run.stop - begin]
        torch.mul(stretches, tables.window, out=frames[:, :length])
        frames[:, :length].mul_((offsets >= first[run]) & (offsets < end[run]))
        parts = torch.view_as_real(torch.fft.rfft(frames)).square_()
        power = parts[..., 0] + parts[..., 1]
        if cpu:
            power[:, 0] = 0.0
            alike = torch.fft.irfft(power, n=tables.finer * tables.points)
            value = alike[:, tables.places] * tables.below
            value += alike[:, tables.places + 1] * tables.above
            whole = alike[:, :1]
        else:
            alike = power @ tables.products
            value, whole = alike[:, :-1], alike[:, -1:]
        torch.div(value, whole + _TINY, out=found[run])
    return _agreed(pack, found, tables.seconds, (end > first).to(found.dtype))


def _reach(pack: PackedStft) -> tuple[Tensor, Tensor]:
    """First and end sample of each row's clip, from the middle of its frame `[rows, 1]`.

    Rows between clips have no samples.
    """
    _, start, frames, count = pack.clip_rows
    row = torch.arange(pack.used, device=start.device)
    middle, hop, filling = row * pack.hop + len(pack.window) // 2, pack.hop, pack.rows - pack.used
    stop = torch.where(row < start + frames, start + count, start)
    first, end = start * hop - middle, stop * hop - middle
    if filling:
        first, end = (torch.nn.functional.pad(x, (0, filling)) for x in (first, end))
    return first[:, None], end[:, None]


def _agreed(pack: PackedStft, found: Tensor, seconds: Tensor, inside: Tensor) -> Pitch:
    """The periods that rows agree on, from the periodicity of each `[rows, P]`.

    `inside` `[rows, 1]` is 1 in the rows of the clips, 0 between them.
    """
    config, count = pack.plan.config, found.shape[1]
    octaves = torch.arange(count, device=found.device).to(found.dtype) / _PERIODS_PER_OCTAVE
    moves = _GLIDE * _PERIODS_PER_OCTAVE * config.hop_length / config.sample_rate
    reach = max(1, round(moves))
    score = (found - octaves * _OCTAVE_COST).clamp_min_(0.0).mul_(inside)
    # From the row before, and from the one behind: the best of nearby periods, none below zero.
    # What a row sends lies where the next one, or the one before, reads it: nothing is moved.
    space = found.new_zeros(2, len(found) + 2, count)
    shape, apart = found.shape, space.stride(0)
    messages = space[:, 1:-1]
    sent = space.as_strided((2, *shape), (apart - 2 * count, count, 1), 2 * count)
    wide = 2 * reach + 1
    told = found.new_zeros(2, len(found), count + wide - 1)
    for _ in range(_FRAMES):
        torch.addcmul(score, messages, inside, out=told[..., reach : reach + count])
        best, held = told, 1
        while 2 * held < wide:
            best, held = torch.maximum(best[..., :-held], best[..., held:]), 2 * held
        torch.maximum(best[..., :count], best[..., wide - held :], out=sent)
    total = score.add_(messages[0]).add_(messages[1])
    chosen = total[:, 1:-1].argmax(dim=1, keepdim=True) + 1
    beside = torch.arange(-1, 2, device=found.device)
    before, here, behind = found.gather(1, chosen + beside).unbind(1)
    bend = before - 2.0 * here + behind
    offset = ((before - behind) / bend * 0.5).nan_to_num_(0.0).clamp_(-0.5, 0.5)
    offset = offset.mul_(bend < 0.0)
    peak = here - (before - behind) * offset * 0.25
    growth = 2.0 ** (1.0 / _PERIODS_PER_OCTAVE) - 1.0
    period = seconds[chosen[:, 0]] * (1.0 + growth * offset)
    return Pitch(period, (peak * inside[:, 0]).clamp_(0.0, 1.0))


@lru_cache(maxsize=32)
def low_pass(rate: float, edge: float) -> NDArray[np.float32]:
    """Taps `[2 H + 1]` of a linear-phase filter that passes what lies below `edge` Hz."""
    half = round(TAPS * rate)
    n = np.arange(-half, half + 1)
    taps = np.sinc(2.0 * edge / rate * n) * np.hanning(2 * half + 3)[1:-1]
    return np.asarray(taps / taps.sum(), np.float32)
