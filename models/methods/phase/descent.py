"""L-BFGS on the samples, each clip with its own curvature."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.backends.base import TINY
from unmel.models.backends.reference import squared_magnitude
from unmel.models.methods.lbfgs import Curvature, dot
from unmel.models.methods.projection import clip_mask
from unmel.models.methods.start.starts import synthesize
from unmel.models.signal.packed_stft import PackedStft

_ARMIJO = 1e-4  # a step must lower the error by this share of the linear prediction
_BACKTRACK = 0.4  # a refused step is shortened to this share
_ROUNDING = 1e-6  # relative rise of the error that may be rounding alone
_MIN_STEP = 1e-4  # below it the curvature is reset


def lbfgs(pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, history: int) -> None:
    """L-BFGS on the samples: the squared error of the magnitude, minimised over the waveform.

    `f(x) = 1/2 |(|STFT x| - A)|^2` and `grad f = STFT* (X - A X/|X|)`. The metric is the window's
    envelope `E`, in which the first step, `-grad f / E`, is one of Griffin-Lim; edges are mirrored
    as in the extractor and their gradient is folded back. An iteration is one evaluation; a step
    that fails the Armijo condition is shortened and costs one as well.

    Parameters
    ----------
    pack
        Pack of the clips; its signal becomes the result.
    magnitude
        Magnitude `[rows, N]`.
    phases
        Start phases `[rows, N]`, radians.
    n_iter
        Number of evaluations.
    history
        Number of steps that the curvature keeps.

    References
    ----------
    R. Decorsiere, P. L. Sondergaard, E. N. MacDonald and T. Dau, "Inversion of auditory
    spectrograms, traditional spectrograms, and other envelope representations", 2015.
    """
    synthesize(pack, magnitude, phases)
    if n_iter == 0:
        return
    problem = _Problem(pack, magnitude)
    metric = problem.metric()
    errors, gradients = problem.evaluate()
    descents = [
        _Descent(pack.signal[inside].clone(), error, gradient, metric[inside], history)
        for inside, error, gradient in zip(problem.insides, errors, gradients, strict=True)
    ]
    for _ in range(n_iter):
        for descent, inside in zip(descents, problem.insides, strict=True):
            pack.signal[inside] = descent.trial()
        pack.restore_edges()
        for descent, error, gradient in zip(descents, *problem.evaluate(), strict=True):
            descent.update(error, gradient)
    for descent, inside in zip(descents, problem.insides, strict=True):
        pack.signal[inside] = descent.samples
    pack.restore_edges()


class _Problem:
    """The error of a pack's signal and its gradient, clip by clip."""

    def __init__(self, pack: PackedStft, magnitude: Tensor) -> None:
        self._pack, self._magnitude, self._clips = pack, magnitude, clip_mask(pack)
        self._slope = torch.zeros_like(pack.signal)
        config = pack.plan.config
        n_fft, reach = config.n_fft, (pack.overlap - 1) * pack.hop
        # Weights that make sums over the one-sided spectrum those over both sides.
        self._sides = torch.full_like(magnitude[0], 2.0 / n_fft)
        self._sides[0] = 1.0 / n_fft
        if n_fft % 2 == 0:
            self._sides[-1] = 1.0 / n_fft
        self.insides = [
            slice(
                start * pack.hop + config.first,
                start * pack.hop + min(config.lead + samples, frames * pack.hop + reach),
            )
            for start, (frames, samples) in zip(pack.starts, pack.clips, strict=True)
        ]

    def metric(self) -> Tensor:
        """`1 / E` of all samples: the sum of squared windows, folded at the edges and floored."""
        pack, plan = self._pack, self._pack.plan
        total = torch.zeros_like(pack.signal)
        for r in range(pack.overlap):
            total.view(-1, pack.hop)[r : r + pack.rows] += self._clips * plan.squared_window[r]
        pack.fold(total)
        return total.clamp_min_(plan.config.envelope_floor()).reciprocal_()

    def evaluate(self) -> tuple[list[float], list[Tensor]]:
        """Each clip's error and its gradient over the samples, at the pack's signal."""
        pack, magnitude = self._pack, self._magnitude
        errors = torch.zeros(pack.rows, dtype=torch.float64, device=magnitude.device)
        pack.begin(raw=self._slope)
        for block in pack.blocks():
            here = pack.spectrum(block)
            power = squared_magnitude(here)
            inverse = torch.rsqrt(power + TINY)
            excess = power.mul_(inverse).sub_(magnitude[block])
            errors[block] = 0.5 * (excess.square() * self._sides).sum(dim=1)
            pack.add(block, here * ((1.0 - magnitude[block] * inverse) * self._clips[block]))
        pack.fold(self._slope)
        clips = zip(pack.starts, pack.clips, strict=True)
        return (
            [float(errors[start : start + frames].sum()) for start, (frames, _) in clips],
            [self._slope[inside].clone() for inside in self.insides],
        )


class _Descent:
    """One clip's L-BFGS: its samples, direction and step length."""

    def __init__(
        self, samples: Tensor, error: float, gradient: Tensor, metric: Tensor, history: int
    ) -> None:
        self.samples, self._error, self._gradient = samples, error, gradient
        self._metric, self._history = metric[None], history
        self._reset_curvature()
        self._set_direction()

    def trial(self) -> Tensor:
        """The samples at which the error is evaluated next."""
        return torch.add(self.samples, self._direction, alpha=self._step)

    def update(self, error: float, gradient: Tensor) -> None:
        """Accept the trial by the Armijo condition, else shorten the step."""
        limit = self._error * (1.0 + _ROUNDING) + _ARMIJO * self._step * self._slope
        if error > limit:
            self._step *= _BACKTRACK
            if self._step < _MIN_STEP and len(self._curvature):
                self._reset_curvature()
                self._set_direction()
            return
        moved = self._direction * self._step
        self._curvature.add(moved[None], (gradient - self._gradient)[None])
        self.samples = self.samples + moved
        self._error, self._gradient = error, gradient
        self._set_direction()

    def _reset_curvature(self) -> None:
        self._curvature = Curvature(self._history, self._metric)

    def _set_direction(self) -> None:
        """Set the direction; the steepest descent where that of L-BFGS is uphill."""
        gradient = self._gradient[None]
        direction = self._curvature.direction(gradient)
        self._slope = float(dot(gradient, direction))
        if self._slope > 0.0:
            self._reset_curvature()
            direction = self._curvature.direction(gradient)
            self._slope = float(dot(gradient, direction))
        self._direction = direction[0]
        self._step = 1.0
