"""Mel to linear magnitude by iteration: what a single product with a matrix cannot reach.

Every function takes the pack, a packed linear mel `[rows, K]` of the config's power and its own
parameters by name, and gives the magnitude `[rows, N]`. Each frame is a problem of its own,
scaled to a peak in [1, 2), with its own steps and its own end: a frame that is finished is put
aside as it is while the others of its block go on, so that none depends on its neighbours.
Minimised is `|F x - m|^2` over spectra `x >= 0` of the config's power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unmel.models.methods.lbfgs import Curvature, dot, lowest_of_quartic
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan

CHECK_EVERY = 10  # steps between looks at which frames are finished; each look waits for the device
_START_STEPS = 10  # Richardson-Lucy steps before a solver begins


def magnitude(pack: PackedStft, spectrum: Tensor) -> Tensor:
    """A spectrum of the config's power as a magnitude, in place."""
    return spectrum.sqrt_() if pack.plan.config.power == 2 else spectrum


def _by_block(pack: PackedStft, mel: Tensor, solve: Callable[[Plan, Tensor], Tensor]) -> Tensor:
    """The magnitude `[rows, N]` by `solve`, which takes blocks of frames with peaks in [1, 2).

    A power of two scales exactly: a mel twice as loud is the same problem, bit for bit.
    """
    plan = pack.plan
    out = torch.empty(pack.rows, plan.config.n_bins, dtype=mel.dtype, device=mel.device)
    for block in pack.blocks():
        aim = mel[block] * plan.alive
        peak = aim.amax(1, keepdim=True)
        scale = torch.where(peak > 0, 0.5 * (peak / torch.frexp(peak).mantissa), 1.0)
        torch.mul(solve(plan, aim / scale), scale, out=out[block])
    return magnitude(pack, out)


def _forward(plan: Plan, spectrum: Tensor) -> Tensor:
    return torch.mm(spectrum, plan.bank)


def _back(plan: Plan, mel: Tensor) -> Tensor:
    return torch.mm(mel, plan.bank.T)


def _energy(rows: Tensor) -> Tensor:
    """`[rows, 1]`: each row's sum of squares."""
    return rows.square().sum(1, keepdim=True)


def _level(plan: Plan, aim: Tensor) -> Tensor:
    """The normalised transpose: positive wherever a band that holds something reaches."""
    return torch.mm(aim / plan.band_weight, plan.spread)


def _finish(
    plan: Plan,
    aim: Tensor,
    steps: Iterator[Tensor],
    n_iter: int,
    *,
    change: float,
    error: float = 0.0,
) -> Tensor:
    """Each frame's spectrum `[rows, N]` at the end of its own descent of at most `n_iter` steps.

    `steps` gives where the descent starts and then every step's spectra. A frame ends when its
    squared error is at most `error` of its energy, or has changed by no more than `change` of it
    since the last look; it stays as it is then.
    """
    energy = _energy(aim)
    rest = torch.full_like(energy, torch.inf)
    ended = energy == 0
    kept = torch.where(ended, 0.0, next(steps))
    for i, spectrum in zip(range(1, n_iter + 1), steps, strict=False):
        if i % CHECK_EVERY and i < n_iter:
            continue
        kept = torch.where(ended, kept, spectrum)
        before, rest = rest, _energy(_forward(plan, spectrum).sub_(aim))
        ended = ended | (rest <= error * energy) | ((before - rest).abs() <= change * energy)
        if bool(ended.all()):
            break
    return kept


def _smoothed(plan: Plan, aim: Tensor, steps: int) -> Tensor:
    """The normalised transpose after Richardson-Lucy steps."""
    spectrum = _level(plan, aim)
    for _ in range(steps):
        reached = _forward(plan, spectrum)
        ratio = torch.where(reached > 0, aim / reached, 0.0)
        spectrum.mul_(torch.mm(ratio, plan.spread))
    return spectrum


def smooth(pack: PackedStft, mel: Tensor, n_iter: int) -> Tensor:
    """The multiplicative start of the joint method alone: the normalised transpose, then a few
    Richardson-Lucy steps `C <- C S(M / F C)`.

    `S` is `F` transposed with each row scaled to sum to one. Every step brings the mel closer and
    keeps the spectrum as smooth inside a band as it was; no value can become negative.
    """

    def solve(plan: Plan, aim: Tensor) -> Tensor:
        return _smoothed(plan, aim, n_iter)

    return _by_block(pack, mel, solve)


def nnls(pack: PackedStft, mel: Tensor, n_iter: int, tolerance: float) -> Tensor:
    """Non-negative least squares, the problem of librosa's `mel_to_stft`, by accelerated projected
    gradient, which ends closer than librosa's L-BFGS-B.

    With `D = 1 / (F^T F 1)` a bin: `x' = max(y - D F^T (F y - m), 0)` and
    `y' = x' + b (x' - x)`, Nesterov's `b` (FISTA, Beck and Teboulle 2009), begun anew in a frame
    whose step turns against its gradient (O'Donoghue and Candes 2015). A frame is finished when
    its squared error, as a share of its energy, falls by less than `tolerance` in ten steps.
    Many spectra are as good; the start decides among them, and is `smooth`, which sounds better
    than librosa's, the clipped pseudo-inverse. librosa stops at an absolute gradient, in most
    mels at once: it then gives that start, `pinv`.
    """

    def solve(plan: Plan, aim: Tensor) -> Tensor:
        def steps() -> Iterator[Tensor]:
            here = ahead = _smoothed(plan, aim, _START_STEPS)
            inertia = torch.ones_like(aim[:, :1])
            while True:
                yield here
                slope = _back(plan, _forward(plan, ahead).sub_(aim))
                new = torch.addcmul(ahead, slope, plan.bin_step, value=-1.0).clamp_min_(0.0)
                step = torch.sub(new, here)
                against = slope.mul_(step).sum(1, keepdim=True) > 0
                inertia = torch.where(against, 1.0, inertia)
                grown = (1.0 + torch.sqrt(1.0 + 4.0 * inertia * inertia)) * 0.5
                ahead = step.mul_((inertia - 1.0) / grown).add_(new)
                here, inertia = new, grown

        return _finish(plan, aim, steps(), n_iter, change=tolerance)

    return _by_block(pack, mel, solve)


def gradient(
    pack: PackedStft,
    mel: Tensor,
    n_iter: int,
    learning_rate: float,
    momentum: float,
    tolerance_loss: float,
    tolerance_change: float,
) -> Tensor:
    """Gradient descent with momentum, clamped at zero in each step: torchaudio's InverseMelScale
    before 2.1, ended relative to the frame's energy.

    With the loss `|F x - m|^2` of a frame and `D = 1 / (F^T F 1)` a bin:
    `v <- momentum v + grad`, `x <- max(x - rate D v, 0)`, until the loss is below `tolerance_loss`
    of `|m|^2` or changes by less than `tolerance_change` of it in a step. What differs from the
    original, and why: its tolerances were absolute, so that on quiet input it never moved and
    loud input ran all 100,000 steps (pytorch/audio#2594, #1149); its loss was a mean over the
    frames, so that a clip ten times as long was solved ten times more slowly; its rate knew no
    `D`, so that it hardly moved on Slaney's small filters and diverged on large ones; its start
    was random, here it is a flat spectrum of the frame's mean level; bins that no band covers kept
    their random start. `D` makes it the original on the bank `F D^(1/2)`, whose largest eigenvalue
    is at most 1 whatever the norm. At most 1,000 steps are made by default.
    """

    def solve(plan: Plan, aim: Tensor) -> Tensor:
        def steps() -> Iterator[Tensor]:
            mean = aim.sum(1, keepdim=True) / (plan.band_weight * plan.alive).sum().clamp_min(1e-30)
            here = mean * (plan.bin_step > 0)
            speed = torch.zeros_like(here)
            while True:
                yield here
                speed.mul_(momentum).add_(_back(plan, _forward(plan, here).sub_(aim)), alpha=2.0)
                here = torch.addcmul(here, speed, plan.bin_step, value=-learning_rate)
                here.clamp_min_(0.0)

        change = CHECK_EVERY * tolerance_change
        return _finish(plan, aim, steps(), n_iter, change=change, error=tolerance_loss)

    return _by_block(pack, mel, solve)


def lbfgs(pack: PackedStft, mel: Tensor, n_iter: int, memory: int, tolerance: float) -> Tensor:
    """L-BFGS on `u` with the spectrum `x = u^2`, which cannot be negative (the suggestion of
    PyTorch-LBFGS in the founding thread), a frame with a curvature and a step of its own.

    `grad = 2 u F^T (F u^2 - m)` of the loss `|F u^2 - m|^2 / 2`. Along a line `u + t d` the loss
    is a polynomial of fourth degree, `F (u + t d)^2 - m = r + 2 t F u d + t^2 F d^2`, so that the
    step is found without evaluating the loss again. It starts at `smooth`: a bin whose `u` is zero
    stays there. A frame is finished when its squared error, as a share of its energy, changes by
    less than `tolerance` in ten steps.
    """

    def solve(plan: Plan, aim: Tensor) -> Tensor:
        def steps() -> Iterator[Tensor]:
            start = _smoothed(plan, aim, _START_STEPS)
            here = start.sqrt()
            rest = _forward(plan, start).sub_(aim)
            back = _back(plan, rest)
            slope = 2.0 * here * back
            # The loss curves by about 4 x / D + 2 F^T r in u, D as in `nnls`; a bin that hardly
            # touches its band curves it by nearly nothing and would be thrown anywhere: hence
            # the 1 %.
            stiff = plan.bin_step / (1.0 + 0.01 * plan.top * plan.bin_step)
            curve = 4.0 * start + 2.0 * stiff * back.abs()
            scale = torch.where(start > 0, stiff / curve, 0.0)
            curvature = Curvature(memory, scale)
            while True:
                yield here * here
                way = curvature.direction(slope)
                uphill = dot(way, slope) >= 0
                way = torch.where(uphill, -slope * scale, way)
                first = _forward(plan, here * way).mul_(2.0)
                second = _forward(plan, way * way)
                length = lowest_of_quartic(
                    (
                        dot(rest, first),
                        dot(rest, second) + 0.5 * _energy(first),
                        dot(first, second),
                        0.5 * _energy(second),
                    )
                )
                step = way.mul_(length)
                here = here + step
                rest = _forward(plan, here * here).sub_(aim)
                turned = 2.0 * here * _back(plan, rest)
                curvature.add(step, turned - slope)
                slope = turned

        return _finish(plan, aim, steps(), n_iter, change=tolerance)

    return _by_block(pack, mel, solve)
