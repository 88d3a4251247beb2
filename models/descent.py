"""L-BFGS on the samples: phase retrieval as plain minimisation, each clip with its own memory."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import MIN_ENVELOPE, MelConfig
from models.projection import TINY, carried, squared_magnitude
from models.start import synthesize
from models.stft import PackedStft

_ARMIJO = 1e-4  # share of the slope's promise that a step must keep
_SHORTER = 0.4  # a step that broke it is cut to this share
_ROUNDING = 1e-6  # rise of the error, as a share, that may be rounding alone


def lbfgs(pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, history: int) -> None:
    """L-BFGS on the waveform: the squared error of the magnitude is minimised over the samples
    by a quasi-Newton method, the clips of a pack side by side.

    Decorsiere, Sondergaard, MacDonald and Dau 2015, with Nocedal's two-loop recursion:
    `f(x) = 1/2 |(|STFT x| - A)|^2`, `grad f = STFT* (X - A X/|X|)`. The metric is the window's
    envelope `E`, in which the first step, `-grad f / E`, is one of Griffin-Lim. Samples beyond
    the clip's edges, which the extractor padded, are free. An iteration is one evaluation: a step
    that does not keep a share of what the slope promised costs one and is cut down.
    """
    synthesize(pack, magnitude, phases)
    if n_iter == 0:
        return
    config = pack.plan.config
    spans = [
        slice(start * pack.hop, (start + frames - 1) * pack.hop + pack.win)
        for start, (frames, _) in zip(pack.starts, pack.clips, strict=True)
    ]
    clips = carried(pack)
    # The one-sided spectrum stands for both sides.
    sides = torch.full_like(magnitude[0], 2.0 / config.n_fft)
    sides[0] = 1.0 / config.n_fft
    if config.n_fft % 2 == 0:
        sides[-1] = 1.0 / config.n_fft
    errors, gradient = _evaluate(pack, magnitude, clips, sides)
    climbers = [
        _Descent(
            pack.signal[span].clone(),
            float(errors[start : start + frames].sum()),
            gradient[span],
            torch.as_tensor(
                1.0 / envelope(config, frames), dtype=pack.plan.dtype, device=pack.plan.device
            ),
            history,
        )
        for span, start, (frames, _) in zip(spans, pack.starts, pack.clips, strict=True)
    ]
    for _ in range(n_iter):
        for climber, span in zip(climbers, spans, strict=True):
            pack.signal[span] = climber.trial()
        errors, gradient = _evaluate(pack, magnitude, clips, sides)
        for climber, span, start, (frames, _) in zip(
            climbers, spans, pack.starts, pack.clips, strict=True
        ):
            climber.judge(float(errors[start : start + frames].sum()), gradient[span])
    lead = config.lead
    pack.load(
        [
            climber.samples[lead : lead + samples]
            if climber.samples.numel() >= lead + samples
            else torch.nn.functional.pad(
                climber.samples[lead:], (0, lead + samples - climber.samples.numel())
            )
            for climber, (_, samples) in zip(climbers, pack.clips, strict=True)
        ]
    )


def envelope(config: MelConfig, frames: int) -> NDArray[np.float64]:
    """Sum of the squared windows of `frames` frames over their support, floored."""
    win, hop = config.win_length, config.hop_length
    squared = config.window_values() ** 2
    total = np.zeros((frames - 1) * hop + win)
    for t in range(frames):
        total[t * hop : t * hop + win] += squared
    floored: NDArray[np.float64] = np.maximum(total, MIN_ENVELOPE * squared.sum() / hop)
    return floored


def _evaluate(
    pack: PackedStft, magnitude: Tensor, clips: Tensor, sides: Tensor
) -> tuple[Tensor, Tensor]:
    """Error of each row in float64 and the gradient over all samples, at the pack's signal."""
    errors = torch.zeros(pack.rows, dtype=torch.float64, device=magnitude.device)
    pack.begin()
    for block in pack.blocks():
        here = pack.spectrum(block)
        power = squared_magnitude(here)
        inverse = torch.rsqrt(power + TINY)
        over = power.mul_(inverse).sub_(magnitude[block])
        errors[block] = 0.5 * (over.square() * sides).sum(dim=1)
        pack.add(block, here * ((1.0 - magnitude[block] * inverse) * clips[block]))
    return errors, pack.overlapped.clone()


class _Descent:
    """One clip's L-BFGS: where it is, which way it goes and how far it tries."""

    def __init__(
        self, samples: Tensor, error: float, gradient: Tensor, metric: Tensor, history: int
    ) -> None:
        self.samples, self._error, self._gradient = samples, error, gradient
        self._metric = metric
        self._pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
        self._scale = 1.0
        self._aim()

    def trial(self) -> Tensor:
        """Where the error is wanted next."""
        return torch.add(self.samples, self._direction, alpha=self._step)

    def judge(self, error: float, gradient: Tensor) -> None:
        """Take the trial if its error keeps what was promised, else try a shorter step."""
        promised = self._error * (1.0 + _ROUNDING) + _ARMIJO * self._step * self._slope
        if error > promised:
            self._step *= _SHORTER
            if self._step < 1e-4 and self._pairs:
                self._pairs.clear()
                self._scale = 1.0
                self._aim()
            return
        moved = self._direction * self._step
        turned = gradient - self._gradient
        along = _dot(moved, turned)
        if along > 1e-10 * _dot(turned, turned):
            self._pairs.append((moved, turned, along))
            self._scale = along / _dot(turned, self._metric * turned)
        self.samples = self.samples + moved
        self._error, self._gradient = error, gradient
        self._aim()

    def _aim(self) -> None:
        """Set the direction by the two-loop recursion; straight down where that leads up."""
        direction = self._gradient.clone()
        shares = []
        for moved, turned, along in reversed(self._pairs):
            share = _dot(moved, direction) / along
            direction.sub_(turned, alpha=share)
            shares.append(share)
        direction.mul_(self._metric).mul_(self._scale)
        for (moved, turned, along), share in zip(self._pairs, reversed(shares), strict=True):
            direction.add_(moved, alpha=share - _dot(turned, direction) / along)
        self._direction = direction.neg_()
        self._slope = _dot(self._gradient, self._direction)
        if self._slope > 0.0:
            self._pairs.clear()
            self._scale = 1.0
            self._direction = -self._metric * self._gradient
            self._slope = _dot(self._gradient, self._direction)
        self._step = 1.0


def _dot(a: Tensor, b: Tensor) -> float:
    """Inner product by torch's own sum: a BLAS's may depend on where in memory the clip lies."""
    return float((a * b).sum(dtype=torch.float64))
