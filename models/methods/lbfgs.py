"""L-BFGS for many problems at once: each row with a curvature and a step of its own."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

# A step teaches nothing where the gradient turned by less than this share of what the metric says.
_FLAT = 1e-10


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products `[rows, 1]` of rows `[rows, n]`, summed in float64.

    By torch's own sum: a BLAS's may depend on where in memory a row lies.
    """
    return (a * b).sum(1, keepdim=True, dtype=torch.float64).to(a.dtype)


class Curvature:
    """The last steps of every row and what they did to its gradient (Nocedal 1980).

    `scale` `[rows, n]` is a guess at the inverse of the Hessian's diagonal.
    """

    def __init__(self, memory: int, scale: Tensor) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=memory)
        self._scale = scale
        self._size: Tensor | float = 1.0

    def __len__(self) -> int:
        """Steps remembered."""
        return len(self._pairs)

    def add(self, step: Tensor, turn: Tensor) -> None:
        """Learn from a `step` `[rows, n]` and the gradient's change over it.

        A row where the two do not say that the function curves upwards learns nothing.
        """
        product, measured = dot(step, turn), dot(turn, turn * self._scale)
        known = product > _FLAT * measured
        self._pairs.append((step, turn, torch.where(known, 1.0 / product, 0.0)))
        size = product / measured
        self._size = torch.where(known & torch.isfinite(size), size, self._size)

    def direction(self, slope: Tensor) -> Tensor:
        """Downhill by the two-loop recursion: minus the inverse Hessian times `slope`."""
        way = -slope
        shares = []
        for step, turn, inverse in reversed(self._pairs):
            share = dot(step, way) * inverse
            way = torch.addcmul(way, turn, share, value=-1.0)
            shares.append(share)
        way = way * self._scale * self._size
        for (step, turn, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            way = torch.addcmul(way, step, share - dot(turn, way) * inverse)
        return way


# Steps tried along a direction, in units of the one that L-BFGS proposes.
_TRIED = tuple(2.0**k for k in range(-12, 5))


def lowest_of_quartic(coefficients: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Where `c1 t + c2 t^2 + c3 t^3 + c4 t^4` is least for `t > 0`, `[rows, 1]`; 0 if nowhere
    below zero. The best of a geometric row of steps, then Newton's method beside it.
    """
    c1, c2, c3, c4 = coefficients

    def value(t: Tensor) -> Tensor:
        return t * (c1 + t * (c2 + t * (c3 + t * c4)))

    tried = torch.tensor(_TRIED, dtype=c1.dtype, device=c1.device)
    values, best = value(tried).min(1, keepdim=True)
    coarse = tried[best]
    t = coarse
    for _ in range(3):
        bend = 2.0 * c2 + t * (6.0 * c3 + t * (12.0 * c4))
        newton = t - (c1 + t * (2.0 * c2 + t * (3.0 * c3 + t * (4.0 * c4)))) / bend
        inside = (bend > 0) & (newton > 0.5 * coarse) & (newton < 2.0 * coarse)
        t = torch.where(inside, newton, t)
    t = torch.where(value(t) <= values, t, coarse)
    return torch.where(values < 0, t, 0.0)
