"""Mel to waveform in one iteration: keep what the mel says, let consistency decide the rest.

A magnitude inside a mel band is not determined by the mel, so inverting the filterbank once and
recovering phases for that guess stays wrong however long it runs. Here the magnitude is mended
against the mel in every iteration.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.mending import Mending, Step
from models.octaves import lowered, stages
from models.projection import carried
from models.schedule import Schedule
from models.start import polar
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
        C = t/|t| * Q * S (M / F Q^p)^(g/p)             phase of t, magnitude mended

    `a` momentum as in fast Griffin-Lim, `m` reflection (an over-relaxed projection, as in the
    reflection-based phase retrieval of Peer, Welker and Gerkmann 2022), `b` blend, `g` the
    exponent that over-relaxes the ratio; all move over the run as `schedule` says. The mending
    is one Richardson-Lucy step. It begins with the magnitude `start` and `phases` `[rows, N]`.

    Where the schedule has several shares, the lower octaves are run first, each on its own from
    what the one below it found.
    """
    lower: PackedStft | None = None
    for plan, stage in stages(pack.plan, schedule):
        level = lowered(pack, plan)
        _run(level, mel, bound, start, phases, lower, stage)
        lower = level


def _run(
    pack: PackedStft,
    mel: Tensor,
    bound: Tensor,
    start: Tensor,
    phases: Tensor,
    lower: PackedStft | None,
    schedule: Schedule,
) -> None:
    """One stage's iterations in `pack`: from what the octave below it found in its band, and from
    the start above that.
    """
    power, n = pack.plan.config.power, schedule.n_iter
    clips = carried(pack)
    bins = slice(lower.plan.reach if lower else 0, pack.plan.config.n_bins)
    bands = slice(pack.plan.bank.shape[1])
    mending = Mending(pack, mel[:, bands].contiguous(), bound[:, bands].contiguous())
    pack.begin()
    for run in pack.runs():
        spectrum = polar(start[run, bins], phases[run, bins])
        if lower is not None:
            below = lower.spectrum(run)[:, : bins.start] * clips[run]
            spectrum = torch.cat([below, spectrum], dim=1)
        mending.begin(run, spectrum, schedule.reflection.at(0, n))
        pack.add(run, spectrum)
    pack.finish()
    for i in range(n):
        momentum = schedule.momentum.at(i, n) if i else 0.0
        blend = schedule.blend.at(i, n)
        step = Step(
            reach=1.0 + momentum + schedule.reflection.at(i, n),
            blend=blend,
            rest=1.0 - blend,
            exponent=schedule.exponent.at(i, n) / power,
            keep=schedule.momentum.at(i + 1, n),
            reflect=schedule.reflection.at(i + 1, n),
        )
        pack.begin()
        for run in pack.runs():
            spectrum = pack.spectrum(run)
            mending.mend(run, spectrum, step)
            pack.add(run, spectrum)
        pack.finish()
