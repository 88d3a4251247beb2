"""Mel to waveform in one iteration: keep what the mel says, let consistency decide the rest.

A magnitude inside a mel band is not determined by the mel, so inverting the filterbank once and
recovering phases for that guess stays wrong however long it runs. Here the magnitude is corrected
towards the mel in every iteration.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from unmel.models.backends.base import MelTarget, StepCoefficients
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.methods.joint.octaves import lowered, stages
from unmel.models.methods.joint.pitch_comb import run_with_comb
from unmel.models.methods.projection import clip_mask
from unmel.models.methods.schedule import Schedule
from unmel.models.signal.packed_stft import PackedStft


def consistent(
    pack: PackedStft,
    mel: Tensor,
    bound: Tensor,
    start: Tensor,
    phases: Tensor,
    schedule: Schedule,
) -> None:
    """Mel-consistent Griffin-Lim: the phase of a signal, its magnitude corrected towards the mel.

    With `P = STFT iSTFT`, the mel `M`, the filterbank `F`, its spreading transpose `S` and the
    mel's power `p`, an iteration is

        R = P(C)                                        what a signal can be
        t = R + a (R - R_prev) + m (R - C)              beyond it
        Q = b |R| + (1 - b) |t|
        C = t/|t| * Q * S (M / F Q^p)^(g/p)             phase of t, magnitude corrected

    with `a` momentum as in fast Griffin-Lim, `m` reflection (an over-relaxed projection), `b`
    blend, and `g` the exponent that over-relaxes the ratio. The mel step is one Richardson-Lucy
    step. Where the schedule has several shares, the lower octaves are run first, each on its own
    from what the one below it found.

    Parameters
    ----------
    pack
        The clips; the waveform is left as its signal.
    mel
        `M`, linear `[rows, K]`, the largest value of a clip in [1, 2).
    bound
        `[rows, K]` bool: where `mel` is an upper bound.
    start
        First magnitude `[rows, N]`.
    phases
        First phases `[rows, N]` in radians.
    schedule
        Iterations, and how `a`, `m`, `b` and `g` move over them.

    References
    ----------
    Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013 for the momentum; Peer, Welker
    and Gerkmann 2022 for the reflection; Richardson 1972 and Lucy 1974 for the mel step.

    """
    lower, target = None, pack.backend.mel_target(mel, bound)
    whole, comb = (pack.plan, mel.masked_fill(bound, 0.0)), None
    for plan, stage in stages(pack.plan, schedule):
        level = lowered(pack, plan)
        iteration = _begin(level, target, start, phases, lower, stage)
        steps = _steps(stage, plan.config.power)
        comb = run_with_comb(level, iteration, steps, schedule.comb, comb, whole)
        lower = level


def _begin(
    pack: PackedStft,
    target: MelTarget,
    start: Tensor,
    phases: Tensor,
    lower: PackedStft | None,
    schedule: Schedule,
) -> MelIteration:
    """Begin one stage, with the result of the octave below in its band and the start above it."""
    clips = clip_mask(pack)
    known, kind = lower.plan.n_active_bins if lower else 0, pack.complex_dtype
    bins, n_bins = slice(known, pack.plan.n_active_bins), pack.plan.config.n_bins
    iteration = MelIteration(pack, target, blank=False)
    pack.begin()
    for run in pack.runs():
        spectrum = torch.empty(run.stop - run.start, n_bins, dtype=kind, device=start.device)
        spectrum[:, bins.stop :] = 0.0
        pack.backend.polar(spectrum, start[run], phases[run], bins)
        if lower is not None:
            below, here = (
                torch.view_as_real(x[:, :known]) for x in (lower.spectrum(run), spectrum)
            )
            torch.mul(below, clips[run].unsqueeze(-1), out=here)
        iteration.begin(run, spectrum, schedule.reflection.first)
        pack.add(run, spectrum)
    pack.finish()
    return iteration


@lru_cache(maxsize=256)  # a draft's coefficients take as long to compute as one of its iterations
def _steps(schedule: Schedule, power: float) -> tuple[StepCoefficients, ...]:
    """The coefficients of each of a stage's iterations, for a mel of `power`."""
    n, steps = schedule.n_iter, []
    for i in range(n):
        momentum = schedule.momentum.at(i, n) if i else 0.0
        blend = schedule.blend.at(i, n)
        steps.append(
            StepCoefficients(
                relaxation=1.0 + momentum + schedule.reflection.at(i, n),
                blend=blend,
                rest=1.0 - blend,
                exponent=schedule.exponent.at(i, n) / power,
                keep=schedule.momentum.at(i + 1, n),
                reflect=schedule.reflection.at(i + 1, n),
            )
        )
    return tuple(steps)
