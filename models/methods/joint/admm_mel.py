"""Mel to waveform by ADMM: the mel is met by a proximal step instead of a ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.backends.base import LARGEST_RATIO, TINY
from unmel.models.backends.reference import raised, root_, squared_magnitude
from unmel.models.methods.projection import clip_mask
from unmel.models.methods.schedule import Schedule
from unmel.models.methods.start.starts import kept_spectrum, synthesize
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan


def admm_mel(
    pack: PackedStft,
    mel: Tensor,
    bound: Tensor,
    start: Tensor,
    phases: Tensor,
    schedule: Schedule,
    rho: float,
) -> None:
    """Mel inversion by ADMM, magnitude and phase at once.

    A multiplier draws a spectrum that has the mel and one that a signal can have together.

    After Masuyama, Ueno and Ono 2025 (arXiv 2501.05557), with their variables for the consistent
    spectrum and the signal in one. `F` filterbank, `m` mel, `P = STFT iSTFT`:

        D = X - U
        Y = D/|D| max(|D| + F' (F F' + r I)^-1 (m - F |D|), 0)      nearest that has the mel
        X = P(Y + U),   U = U + Y - X

    Here `V = Y + U` alone is kept: `D = 2 P(V) - V`, `V' = Y + V - P(V)`. `r` is in units of
    `F F'`'s mean diagonal. Where `bound` holds `m - F|D|` is at most 0; bins that no band covers
    are zero. Of a mel of power `p` the step aims at `F|D| (M / F|D|^p)^(1/p)` in place of `m`, the
    magnitude mel of a spectrum with `D`'s shape in each band and the mel asked for; at a fixed
    point that is exact. Of the schedule only `n_iter` counts.
    """
    plan, power, n = pack.plan, pack.plan.config.power, schedule.n_iter
    synthesize(pack, start, phases)
    kept, clips = kept_spectrum(pack, start, phases), clip_mask(pack)
    meet = _proximal(plan, rho)
    covered = (plan.spread.sum(dim=0) > 0).to(plan.dtype)
    for i in range(n):
        pack.begin()
        for block in pack.blocks():
            v, here = kept[block], pack.spectrum(block)
            toward = torch.sub(here * 2.0, v)
            reach = squared_magnitude(toward)
            inverse = torch.rsqrt(reach + TINY)
            level = reach * inverse
            has = torch.mm(level, plan.bank)
            if power == 1:
                short = mel[block] - has
            else:
                present = reach if power == 2 else raised(level, power)
                ratio = mel[block] / torch.mm(present, plan.bank).add_(TINY)
                ratio.clamp_max_(LARGEST_RATIO)
                short = has * ((ratio.sqrt_() if power == 2 else root_(ratio, power)) - 1.0)
            short = torch.where(bound[block], short.clamp_max(0.0), short)
            level.add_(torch.mm(short, meet)).clamp_min_(0.0).mul_(covered)
            met = toward.mul_(level.mul_(inverse)).mul_(clips[block])
            if i < n - 1:
                met = v.sub_(here).mul_(clips[block]).add_(met)
            pack.add(block, met)
        pack.finish()


def _proximal(plan: Plan, rho: float) -> Tensor:
    """`F' (F F' + r I)^-1`, transposed, `[K, N]`."""
    bank = plan.bank.to(torch.float64)
    gram = bank.T @ bank
    unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    level = rho * gram.diagonal().mean()
    solved: Tensor = torch.linalg.solve(gram + level * unit, bank.T)
    return solved.to(plan.dtype)
