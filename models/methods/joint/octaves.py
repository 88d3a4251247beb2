"""Octaves: the lower part of a pack's band as a pack of its own, at the lower rate that holds it.

A signal's harmonics and pitch lie low, most of the iterations that it needs are theirs, and an
iteration at half the rate costs half. Frames stand at the same instants at every rate, so that
an octave's spectrum is the lower half of the one above, bin for bin and row for row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.methods.schedule import Schedule
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan


def ladder(plan: Plan, most: int) -> list[Plan]:
    """The plan and those of the octaves below it, at most `most` in all, the lowest first."""
    plans = [plan]
    while len(plans) < most and plans[0].below is not None:
        plans.insert(0, plans[0].below)
    return plans


def stages(plan: Plan, schedule: Schedule) -> list[tuple[Plan, Schedule]]:
    """Stages of a run of `schedule` on the whole band: each plan with its own schedule."""
    plans = ladder(plan, len(schedule.shares) if schedule.n_iter else 1)
    return list(zip(plans, schedule.stages(len(plans)), strict=True))


def lowered(pack: PackedStft, plan: Plan) -> PackedStft:
    """A pack of the same clips and rows for `plan`, of the pack's own or of an octave below.

    What the clips are pinned to it has at its own rate. Its samples are as many times larger as
    they are fewer, so that its spectrum is of the same level.
    """
    if plan is pack.plan:
        return pack
    step = pack.hop // plan.config.hop_length
    clips = [(frames, -(-samples // step)) for frames, samples in pack.clips]
    lower = PackedStft(plan, clips, pack.backend, like=pack)
    if any(len(past) for past in pack.pasts):
        lower.pin([_decimated(past, step) for past in pack.pasts])
    return lower


def _decimated(past: Tensor, step: int) -> Tensor:
    """Every `step`-th of a clip's past samples `[L]`, low-passed and times `step`.

    The past is of whole hops, so that `L` is a multiple of `step`.
    """
    if not len(past):
        return past
    count = len(past) // step
    whole = torch.cat([past, past.flip(0)])  # its own mirror, so that it ends as it begins
    low: Tensor = torch.fft.irfft(torch.fft.rfft(whole)[: count + 1], n=2 * count)
    return low[:count].contiguous()
