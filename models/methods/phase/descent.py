"""L-BFGS on the samples: phase retrieval as plain minimisation, each clip with its own memory."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.backends.base import TINY
from unmel.models.backends.reference import squared_magnitude
from unmel.models.methods.lbfgs import Curvature, dot
from unmel.models.methods.projection import clip_mask
from unmel.models.methods.start.starts import synthesize
from unmel.models.signal.packed_stft import PackedStft

_ARMIJO = 1e-4  # share of the slope's promise that a step must keep
_SHORTER = 0.4  # a step that broke it is cut to this share
_ROUNDING = 1e-6  # rise of the error, as a share, that may be rounding alone


def lbfgs(pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, history: int) -> None:
    """L-BFGS on the waveform: the squared error of the magnitude is minimised over the samples
    by a quasi-Newton method, the clips of a pack side by side.

    Decorsiere, Sondergaard, MacDonald and Dau 2015, with Nocedal's two-loop recursion:
    `f(x) = 1/2 |(|STFT x| - A)|^2`, `grad f = STFT* (X - A X/|X|)`. The metric is the window's
    envelope `E`, in which the first step, `-grad f / E`, is one of Griffin-Lim; edges are mirrored
    as the extractor does and their gradient is folded back. An iteration is one evaluation: a
    step that does not keep a share of what the slope promised costs one and is cut down.
    """
    synthesize(pack, magnitude, phases)
    if n_iter == 0:
        return
    problem = _Problem(pack, magnitude)
    metric = problem.metric()
    errors, gradients = problem.evaluate()
    climbers = [
        _Descent(pack.signal[inside].clone(), error, gradient, metric[inside], history)
        for inside, error, gradient in zip(problem.insides, errors, gradients, strict=True)
    ]
    for _ in range(n_iter):
        for climber, inside in zip(climbers, problem.insides, strict=True):
            pack.signal[inside] = climber.trial()
        pack.restore_edges()
        for climber, error, gradient in zip(climbers, *problem.evaluate(), strict=True):
            climber.judge(error, gradient)
    for climber, inside in zip(climbers, problem.insides, strict=True):
        pack.signal[inside] = climber.samples
    pack.restore_edges()


class _Problem:
    """The error of a pack's signal, clip by clip, and its gradient."""

    def __init__(self, pack: PackedStft, magnitude: Tensor) -> None:
        self._pack, self._magnitude, self._clips = pack, magnitude, clip_mask(pack)
        self._slope = torch.zeros_like(pack.signal)
        n_fft, lead = pack.plan.config.n_fft, pack.plan.config.lead
        # The one-sided spectrum stands for both sides.
        self._sides = torch.full_like(magnitude[0], 2.0 / n_fft)
        self._sides[0] = 1.0 / n_fft
        if n_fft % 2 == 0:
            self._sides[-1] = 1.0 / n_fft
        self.insides = [
            slice(
                start * pack.hop + lead,
                start * pack.hop + min(lead + samples, (frames + pack.overlap - 1) * pack.hop),
            )
            for start, (frames, samples) in zip(pack.starts, pack.clips, strict=True)
        ]

    def metric(self) -> Tensor:
        """`1 / E` over all samples: the squared windows' sum, folded at the edges and floored."""
        pack, plan = self._pack, self._pack.plan
        total = torch.zeros_like(pack.signal)
        for r in range(pack.overlap):
            total.view(-1, pack.hop)[r : r + pack.rows] += self._clips * plan.squared_window[r]
        pack.fold(total)
        return total.clamp_min_(plan.config.envelope_floor()).reciprocal_()

    def evaluate(self) -> tuple[list[float], list[Tensor]]:
        """Each clip's error and the gradient over its samples, at the pack's signal."""
        pack, magnitude = self._pack, self._magnitude
        errors = torch.zeros(pack.rows, dtype=torch.float64, device=magnitude.device)
        pack.begin(raw=self._slope)
        for block in pack.blocks():
            here = pack.spectrum(block)
            power = squared_magnitude(here)
            inverse = torch.rsqrt(power + TINY)
            over = power.mul_(inverse).sub_(magnitude[block])
            errors[block] = 0.5 * (over.square() * self._sides).sum(dim=1)
            pack.add(block, here * ((1.0 - magnitude[block] * inverse) * self._clips[block]))
        pack.fold(self._slope)
        clips = zip(pack.starts, pack.clips, strict=True)
        return (
            [float(errors[start : start + frames].sum()) for start, (frames, _) in clips],
            [self._slope[inside].clone() for inside in self.insides],
        )


class _Descent:
    """One clip's L-BFGS: where it is, which way it goes and how far it tries."""

    def __init__(
        self, samples: Tensor, error: float, gradient: Tensor, metric: Tensor, history: int
    ) -> None:
        self.samples, self._error, self._gradient = samples, error, gradient
        self._metric, self._history = metric[None], history
        self._forget()
        self._aim()

    def trial(self) -> Tensor:
        """Where the error is wanted next."""
        return torch.add(self.samples, self._direction, alpha=self._step)

    def judge(self, error: float, gradient: Tensor) -> None:
        """Take the trial if its error keeps what was promised, else try a shorter step."""
        promised = self._error * (1.0 + _ROUNDING) + _ARMIJO * self._step * self._slope
        if error > promised:
            self._step *= _SHORTER
            if self._step < 1e-4 and len(self._curvature):
                self._forget()
                self._aim()
            return
        moved = self._direction * self._step
        self._curvature.add(moved[None], (gradient - self._gradient)[None])
        self.samples = self.samples + moved
        self._error, self._gradient = error, gradient
        self._aim()

    def _forget(self) -> None:
        self._curvature = Curvature(self._history, self._metric)

    def _aim(self) -> None:
        """Set the direction; straight down where L-BFGS leads up."""
        slope = self._gradient[None]
        direction = self._curvature.direction(slope)
        self._slope = float(dot(slope, direction))
        if self._slope > 0.0:
            self._forget()
            direction = self._curvature.direction(slope)
            self._slope = float(dot(slope, direction))
        self._direction = direction[0]
        self._step = 1.0
