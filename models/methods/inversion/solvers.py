"""Mel to linear magnitude by iteration, frame by frame.

The methods minimise `|F x - m|^2` over spectra `x >= 0` of the config's power. Each frame is a
problem of its own, scaled to a peak in [1, 2), with its own steps and its own end: a finished
frame keeps its values while the others of its block go on, so that no frame depends on its
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unmel.models.backends.reference import root_
from unmel.models.methods.lbfgs import Curvature, dot, lowest_of_quartic
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan

_CHECK_EVERY = 10  # steps between tests for finished frames; each test waits for the device
_START_STEPS = 10  # Richardson-Lucy steps of the start


def magnitude(pack: PackedStft, spectrum: Tensor) -> Tensor:
    """A spectrum of the config's power as a magnitude; it may be overwritten.

    Parameters
    ----------
    pack
        Pack of the clips.
    spectrum
        Spectrum `[rows, N]`.
    """
    power = pack.plan.config.power
    return spectrum.sqrt_() if power == 2 else root_(spectrum, power)


def _by_block(pack: PackedStft, mel: Tensor, solve: Callable[[Plan, Tensor], Tensor]) -> Tensor:
    """The magnitude `[rows, N]` by `solve`, which takes blocks of frames with peaks in [1, 2).

    The scale is a power of two: a mel twice as loud has the same bits but for the exponent.
    """
    plan = pack.plan
    out = torch.empty(pack.rows, plan.config.n_bins, dtype=mel.dtype, device=mel.device)
    for block in pack.blocks():
        target = mel[block] * plan.alive
        peak = target.amax(1, keepdim=True)
        scale = torch.where(peak > 0, 0.5 * (peak / torch.frexp(peak).mantissa), 1.0)
        torch.mul(solve(plan, target / scale), scale, out=out[block])
    return magnitude(pack, out)


def _forward(plan: Plan, spectrum: Tensor) -> Tensor:
    return torch.mm(spectrum, plan.bank)


def _back(plan: Plan, mel: Tensor) -> Tensor:
    return torch.mm(mel, plan.bank.T)


def _energy(rows: Tensor) -> Tensor:
    """Sum of squares of each row `[rows, 1]`."""
    return rows.square().sum(1, keepdim=True)


def _finish(
    plan: Plan,
    target: Tensor,
    steps: Iterator[Tensor],
    n_iter: int,
    *,
    change: float,
    error: float = 0.0,
) -> Tensor:
    """Each frame's spectrum `[rows, N]` at the end of its own descent of at most `n_iter` steps.

    `steps` yields the start and then the spectra of each step. A frame ends when its squared
    error is at most `error` of its energy, or has changed by no more than `change` of it since
    the last test.
    """
    energy = _energy(target)
    rest = torch.full_like(energy, torch.inf)
    ended = energy == 0
    kept = torch.where(ended, 0.0, next(steps))
    for i, spectrum in zip(range(1, n_iter + 1), steps, strict=False):
        if i % _CHECK_EVERY and i < n_iter:
            continue
        kept = torch.where(ended, kept, spectrum)
        before, rest = rest, _energy(_forward(plan, spectrum).sub_(target))
        ended = ended | (rest <= error * energy) | ((before - rest).abs() <= change * energy)
        if bool(ended.all()):
            break
    return kept


def _smoothed(plan: Plan, target: Tensor, steps: int) -> Tensor:
    """The normalised transpose after Richardson-Lucy steps."""
    spectrum = torch.mm(target / plan.band_weight, plan.spread)
    for _ in range(steps):
        mel = _forward(plan, spectrum)
        ratio = torch.where(mel > 0, target / mel, 0.0)
        spectrum.mul_(torch.mm(ratio, plan.spread))
    return spectrum


def smooth(pack: PackedStft, mel: Tensor, n_iter: int) -> Tensor:
    """The normalised transpose, then Richardson-Lucy steps `C <- C S(M / F C)`.

    `S` is `F` transposed with each row scaled to sum to one. Every step brings the mel closer and
    keeps the spectrum as smooth within a band as it was; no value becomes negative.

    Parameters
    ----------
    pack
        Pack of the clips.
    mel
        Linear mel `[rows, K]` of the config's power.
    n_iter
        Number of steps.

    Returns
    -------
    Tensor
        Magnitude `[rows, N]`.

    References
    ----------
    W. H. Richardson, "Bayesian-based iterative method of image restoration", 1972.
    L. B. Lucy, "An iterative technique for the rectification of observed distributions", 1974.
    """
    return _by_block(pack, mel, lambda plan, target: _smoothed(plan, target, n_iter))


def nnls(pack: PackedStft, mel: Tensor, n_iter: int, tolerance: float) -> Tensor:
    """Non-negative least squares, the problem of librosa's `mel_to_stft`, by FISTA.

    With `D = 1 / (F^T F 1)` per bin: `x' = max(y - D F^T (F y - m), 0)` and
    `y' = x' + b (x' - x)` with Nesterov's `b`, restarted in a frame whose step goes against its
    gradient. Of the many minimisers the start selects one: `smooth` sounds better than librosa's
    start, the clipped pseudo-inverse. librosa's L-BFGS-B stops at an absolute gradient, for most
    mels at once, and then returns that start.

    Parameters
    ----------
    pack
        Pack of the clips.
    mel
        Linear mel `[rows, K]` of the config's power.
    n_iter
        Largest number of steps of a frame.
    tolerance
        A frame ends when its squared error falls by less than this share of its energy in ten
        steps.

    Returns
    -------
    Tensor
        Magnitude `[rows, N]`.

    References
    ----------
    A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse
    problems", 2009.
    B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes", 2015.
    """

    def solve(plan: Plan, target: Tensor) -> Tensor:
        def steps() -> Iterator[Tensor]:
            here = ahead = _smoothed(plan, target, _START_STEPS)
            inertia = torch.ones_like(target[:, :1])
            while True:
                yield here
                slope = _back(plan, _forward(plan, ahead).sub_(target))
                new = torch.addcmul(ahead, slope, plan.bin_step, value=-1.0).clamp_min_(0.0)
                step = torch.sub(new, here)
                uphill = slope.mul_(step).sum(1, keepdim=True) > 0
                inertia = torch.where(uphill, 1.0, inertia)
                following = (1.0 + torch.sqrt(1.0 + 4.0 * inertia * inertia)) * 0.5
                ahead = step.mul_((inertia - 1.0) / following).add_(new)
                here, inertia = new, following

        return _finish(plan, target, steps(), n_iter, change=tolerance)

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
    """Momentum gradient descent clamped at zero: torchaudio's InverseMelScale before 2.1.

    With `D = 1 / (F^T F 1)` per bin: `v <- momentum v + grad`, `x <- max(x - rate D v, 0)`.

    Differences from the original: its absolute tolerances never moved quiet input and ran loud
    input for all 100,000 steps (pytorch/audio#2594, #1149); its loss was a mean over the frames,
    so that a clip ten times as long took ten times as many steps; without `D` it hardly moved on
    Slaney's small filters and diverged on large ones; its random start, which bins outside the
    bands kept, is here a flat spectrum of the frame's mean level. `D` makes it the original on the
    bank `F D^(1/2)`, whose largest eigenvalue is at most 1 for any norm.

    Parameters
    ----------
    pack
        Pack of the clips.
    mel
        Linear mel `[rows, K]` of the config's power.
    n_iter
        Largest number of steps of a frame.
    learning_rate
        Step in units of `D`.
    momentum
        Share of the last step that is kept.
    tolerance_loss
        A frame ends at a squared error below this share of its energy.
    tolerance_change
        A frame ends when the error changes by less than this share of its energy per step.

    Returns
    -------
    Tensor
        Magnitude `[rows, N]`.
    """

    def solve(plan: Plan, target: Tensor) -> Tensor:
        def steps() -> Iterator[Tensor]:
            bands = (plan.band_weight * plan.alive).sum().clamp_min(1e-30)
            mean = target.sum(1, keepdim=True) / bands
            here = mean * (plan.bin_step > 0)
            velocity = torch.zeros_like(here)
            while True:
                yield here
                slope = _back(plan, _forward(plan, here).sub_(target))
                velocity.mul_(momentum).add_(slope, alpha=2.0)
                here = torch.addcmul(here, velocity, plan.bin_step, value=-learning_rate)
                here.clamp_min_(0.0)

        change = _CHECK_EVERY * tolerance_change
        return _finish(plan, target, steps(), n_iter, change=change, error=tolerance_loss)

    return _by_block(pack, mel, solve)


def lbfgs(pack: PackedStft, mel: Tensor, n_iter: int, memory: int, tolerance: float) -> Tensor:
    """L-BFGS on `u` with the spectrum `x = u^2`, which cannot be negative.

    The gradient of the loss `|F u^2 - m|^2 / 2` is `2 u F^T (F u^2 - m)`. Along a line `u + t d`
    the loss is a quartic polynomial, `F (u + t d)^2 - m = r + 2 t F u d + t^2 F d^2`, so that the
    step length needs no further evaluation. The start is `smooth`; a bin with `u = 0` stays there.
    PyTorch-LBFGS was suggested in nnAudio issue 57; here each frame has its own curvature.

    Parameters
    ----------
    pack
        Pack of the clips.
    mel
        Linear mel `[rows, K]` of the config's power.
    n_iter
        Largest number of steps of a frame.
    memory
        Number of steps that the curvature keeps.
    tolerance
        A frame ends when its squared error changes by less than this share of its energy in ten
        steps.

    Returns
    -------
    Tensor
        Magnitude `[rows, N]`.
    """

    def solve(plan: Plan, target: Tensor) -> Tensor:
        def steps() -> Iterator[Tensor]:
            start = _smoothed(plan, target, _START_STEPS)
            here = start.sqrt()
            residual = _forward(plan, start).sub_(target)
            back = _back(plan, residual)
            slope = 2.0 * here * back
            # The second derivative in u is about 4 x / D + 2 F^T r, D as in `nnls`. It is nearly
            # zero for a bin with little weight, whose step is bounded by the 1 %.
            step_size = plan.bin_step / (1.0 + 0.01 * plan.largest_eigenvalue * plan.bin_step)
            scale = step_size / (4.0 * start + 2.0 * step_size * back.abs())
            scale = torch.where(start > 0, scale, 0.0)
            curvature = Curvature(memory, scale)
            while True:
                yield here * here
                direction = curvature.direction(slope)
                uphill = dot(direction, slope) >= 0
                direction = torch.where(uphill, -slope * scale, direction)
                first = _forward(plan, here * direction).mul_(2.0)
                second = _forward(plan, direction * direction)
                length = lowest_of_quartic(
                    (
                        dot(residual, first),
                        dot(residual, second) + 0.5 * _energy(first),
                        dot(first, second),
                        0.5 * _energy(second),
                    )
                )
                step = direction.mul_(length)
                here = here + step
                residual = _forward(plan, here * here).sub_(target)
                before, slope = slope, 2.0 * here * _back(plan, residual)
                curvature.add(step, slope - before)

        return _finish(plan, target, steps(), n_iter, change=tolerance)

    return _by_block(pack, mel, solve)
