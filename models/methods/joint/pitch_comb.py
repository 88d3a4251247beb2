"""Harmonics above those that the mel resolves: a pitch comb between the iterations of `consistent`.

From some 13 times the fundamental up a mel's bands are wider than the distance of two harmonics,
and nothing in the iteration asks for a voice's pulses. The lowest octaves tell its pitch. While the
upper ones are run, what a period earlier and later have in common is mixed into the signal; the
mel step that follows keeps the mel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from unmel.models.backends.base import Floats, StepCoefficients
from unmel.models.backends.reference import raised, root_
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.pitch import RATE, TAPS, find_pitch
from unmel.models.signal.plan import Plan

# The comb's gain rises about the first frequency; above the second less of it is left, because
# voices are less periodic there. In Hz.
_LOWEST, _HIGHEST, _ABOVE = 1200.0, 4000.0, 0.4
# Combs of a stage, those of one at a higher rate than `_WIDE` Hz, and iterations at a stage's end
# without one.
_COMBS, _WIDE_COMBS, _WIDE, _WITHOUT = 5, 3, 32000.0, 2
# Periodicity at which the comb begins, and over which it comes to its full share.
_BEGIN, _SPAN = 0.3, 0.35
# Period in seconds of which the share is 1; it is in proportion between two bounds, because high
# voices need less. From 1.6 on the comb would turn the sign of what lies between two harmonics.
_PERIOD, _LEAST, _MOST = 0.0075, 0.5, 1.1
# Hop in seconds above which less of the comb is mixed in, by its square: between frames so far
# apart a period is less sure, and fewer mels restrain the comb.
_HOP = 0.016
# Decibels by which a voiced frame's lower band is louder: less, as in a fricative, turns it down.
_TILT = 12.0
_LOW_BAND, _HIGH_BAND = (200.0, 2500.0), (3000.0, 7500.0)
_TINY = 1e-12

Steps = Sequence[StepCoefficients]


@dataclass(frozen=True, eq=False)
class PitchComb:
    """The comb of a pack's rows."""

    seconds: Tensor
    """Period `[rows]`."""
    share: Tensor
    """Share of the comb `[rows]`, 1 where a frame is surely voiced."""

    def mix(self, pack: PackedStft, strength: float) -> None:
        """Mix a `strength` of what neighbouring periods have in common into a pack's signal."""
        rate = pack.plan.config.sample_rate
        band = pack.backend.filtered(pack, _taps(rate))
        pack.backend.comb(pack, band, self.seconds * rate, self.share * strength)
        pack.restore_edges()


def find_comb(pack: PackedStft, plan: Plan, mel: Tensor) -> PitchComb:
    """The comb by a pack's present signal.

    Parameters
    ----------
    pack
        The pack, at the whole band's rate or an octave's.
    plan
        The whole band's plan.
    mel
        Linear mel `[rows, K]`, zero where it is an upper bound.
    """
    pitch = find_pitch(pack)
    voiced = ((pitch.periodicity - _BEGIN) / _SPAN).clamp_(0.0, 1.0)
    slow = (pitch.seconds / _PERIOD).clamp_(_LEAST, _MOST)
    hop = plan.config.hop_length / plan.config.sample_rate
    slow *= min(1.0, (_HOP / hop) ** 2)
    return PitchComb(pitch.seconds, voiced.mul_(_tilt(plan, mel)).mul_(slow))


def run_with_comb(
    pack: PackedStft,
    iteration: MelIteration,
    steps: Steps,
    strength: float,
    comb: PitchComb | None,
    whole: tuple[Plan, Tensor],
) -> PitchComb | None:
    """Run a stage's iterations, with the comb once the pitch is known.

    It is found behind the last stage of a low enough rate. Where a config has no such octave, it
    is found after a third of the first stage, which has the combs of two.

    Parameters
    ----------
    pack, iteration, steps
        The stage's.
    strength
        Share of the comb in a stage's first iteration; none in the last.
    comb
        From the stage below.
    whole
        Plan and mel of the whole band, as for `find_comb`.

    Returns
    -------
    PitchComb or None
        For the stage above.
    """
    rate = pack.plan.config.sample_rate
    if not strength or rate <= RATE:
        iteration.run(steps)
        last = pack.plan is whole[0] or 2 * rate <= RATE
        return None if last or not strength else find_comb(pack, *whole)
    combs = _COMBS if rate <= _WIDE else _WIDE_COMBS
    if comb is None:
        first = len(steps) // 3
        iteration.run(steps[:first])
        steps, combs = steps[first:], 2 * combs
        comb = find_comb(pack, *whole)
    every = max(1, round(len(steps) / combs))
    for k in range(0, len(steps), every):
        if k < len(steps) - _WITHOUT:
            comb.mix(pack, strength * (1.0 - k / len(steps)))
        iteration.run(steps[k : k + every])
    return comb


def _tilt(plan: Plan, mel: Tensor) -> Tensor:
    """By how much the lower band is louder `[rows]`, as a share of `_TILT`, from 0 to 1."""
    levels = raised(root_(mel / plan.band_weight, plan.config.power), 2.0)
    lower, higher = (_sums(levels * shares) for shares in _shares(plan))
    ratio = (lower + _TINY) / (higher + _TINY)
    if ratio.device.type == "cpu":
        decibels = torch.from_numpy(np.log10(ratio.numpy())) * 10.0
    else:
        decibels = torch.log10(ratio) * 10.0
    return (decibels / _TILT).clamp_(0.0, 1.0)


def _sums(values: Tensor) -> Tensor:
    """Sums of rows; numpy's on a CPU, whose order depends on nothing but their length."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.add.reduce(values.numpy(), axis=1))
    return values.sum(dim=1)


_SHARES: WeakKeyDictionary[Plan, list[Tensor]] = WeakKeyDictionary()


def _shares(plan: Plan) -> list[Tensor]:
    """Each mel band's share of the bins of the lower and of the higher band `[K]`."""
    if plan in _SHARES:
        return _SHARES[plan]
    # On the host, and then copied by what waits: every stream of a device may read them.
    config, spread = plan.config, plan.spread.cpu()
    bins = torch.arange(config.n_bins)
    frequencies = bins * (config.sample_rate / config.n_fft)
    held = [
        ((frequencies >= low) & (frequencies <= high)).to(spread.dtype)
        for low, high in (_LOW_BAND, _HIGH_BAND)
    ]
    shares = [((spread * h).sum(dim=1) / h.sum().clamp_min(1.0)).to(plan.device) for h in held]
    return _SHARES.setdefault(plan, shares)


@lru_cache(maxsize=32)
def _taps(rate: float) -> Floats:
    """Taps of the comb's band at a rate."""
    half, points = round(TAPS * rate), 4096
    frequencies = np.fft.rfftfreq(points, 1.0 / rate)
    edges = [0.75 * _LOWEST, 1.25 * _LOWEST, 0.85 * _HIGHEST, 1.15 * _HIGHEST]
    gain = np.interp(frequencies, edges, [0.0, 1.0, 1.0, _ABOVE])
    taps = np.roll(np.fft.irfft(gain, points), half)[: 2 * half + 1]
    return np.asarray(taps * np.hamming(2 * half + 1), np.float32)
