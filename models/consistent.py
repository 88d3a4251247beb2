"""Mel to waveform in one iteration: keep what the mel says, let consistency decide the rest.

A magnitude inside a mel band is not determined by the mel, so inverting the filterbank once and
recovering phases for that guess stays wrong however long it runs. Here the magnitude is mended
against the mel in every iteration.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.projection import LARGEST_RATIO, TINY, squared_magnitude
from models.schedule import Schedule
from models.start import synthesize
from models.stft import PackedStft


def consistent(
    pack: PackedStft,
    mel: Tensor,
    bound: Tensor,
    start: Tensor,
    phases: Tensor,
    schedule: Schedule,
) -> None:
    """Mel-consistent Griffin-Lim: in every iteration the phase of a signal, and its magnitude
    mended against the mel; the waveform is left as the pack's signal.

    `mel` `[rows, K]` is the linear target `M` (largest value of a clip in [1, 2)), `bound`
    `[rows, K]` says where it is an upper bound. With `P = STFT iSTFT`, the filterbank `F`, its
    spreading transpose `S` and the mel's power `p`:

        R = P(C)                                        what a signal can be
        t = R + a (R - R_prev) + m (R - C)              beyond it
        Q = b |R| + (1 - b) |t|
        C = t/|t| * Q * (S (M / F Q^p))^(g/p)           phase of t, magnitude mended

    `a` momentum as in fast Griffin-Lim, `m` reflection (an over-relaxed projection, as in the
    reflection-based phase retrieval of Peer, Welker and Gerkmann 2022), `b` blend, `g` the
    exponent that over-relaxes the ratio; all move over the run as `schedule` says. The mending
    is one Richardson-Lucy step. It begins with the magnitude `start` and `phases` `[rows, N]`.
    """
    plan, power = pack.plan, pack.plan.config.power
    synthesize(pack, start, phases)
    # What the next step subtracts: a R_prev + m C, in one array.
    behind = torch.polar(start, phases)
    n = schedule.n_iter
    for i in range(n):
        momentum = schedule.momentum.at(i, n) if i else 0.0
        reflection = schedule.reflection.at(i, n)
        next_momentum = schedule.momentum.at(i + 1, n)
        next_reflection = schedule.reflection.at(i + 1, n)
        blend = schedule.blend.at(i, n)
        exponent = schedule.exponent.at(i, n)
        if i == 0:
            behind.mul_(reflection)
        pack.begin()
        for block in pack.blocks():
            here = pack.spectrum(block)
            beyond = torch.sub(here * (1.0 + momentum + reflection), behind[block])
            level = squared_magnitude(here).sqrt_()
            reach = squared_magnitude(beyond).add_(TINY)
            if blend != 1.0:
                level.mul_(blend).add_(reach.sqrt(), alpha=1.0 - blend).clamp_min_(0.0)
            ratio = mel[block] / torch.mm(level if power == 1 else level * level, plan.bank).add_(
                TINY
            )
            limit = torch.where(bound[block], 1.0, LARGEST_RATIO)
            gain = torch.mm(torch.minimum(ratio, limit), plan.spread)
            if exponent != power:
                gain.pow_(exponent / power)
            mended = beyond.mul_(gain.mul_(level).mul_(reach.rsqrt_()))
            torch.mul(here, next_momentum, out=behind[block])
            behind[block].add_(mended, alpha=next_reflection)
            pack.add(block, mended)
        pack.finish()
