"""L-BFGS for many problems at once, each row with its own curvature and step."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

# A step is ignored where its curvature is below this share of that of the initial scale.
_MIN_CURVATURE = 1e-10


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows, summed in float64.

    By torch's own sum: the bits of a BLAS's may depend on the alignment of a row.

    Parameters
    ----------
    a, b
        Rows `[rows, n]`.

    Returns
    -------
    Tensor
        Products `[rows, 1]` in the type of `a`.
    """
    return (a * b).sum(1, keepdim=True, dtype=torch.float64).to(a.dtype)


class Curvature:
    """The last steps of every row and the changes of its gradient.

    Parameters
    ----------
    memory
        Number of steps that are kept.
    scale
        Estimate of the inverse of the Hessian's diagonal `[rows, n]`.

    References
    ----------
    J. Nocedal, "Updating quasi-Newton matrices with limited storage", 1980.
    """

    def __init__(self, memory: int, scale: Tensor) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=memory)
        self._scale = scale
        self._size: Tensor | float = 1.0

    def __len__(self) -> int:
        """Number of steps kept."""
        return len(self._pairs)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Record a step; a row without positive curvature along it is left as it was.

        Parameters
        ----------
        step
            Step of each row `[rows, n]`.
        change
            Change of the gradient over the step `[rows, n]`.
        """
        product, norm = dot(step, change), dot(change, change * self._scale)
        convex = product > _MIN_CURVATURE * norm
        self._pairs.append((step, change, torch.where(convex, 1.0 / product, 0.0)))
        size = product / norm
        self._size = torch.where(convex & torch.isfinite(size), size, self._size)

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient, by the two-loop recursion.

        Parameters
        ----------
        gradient
            Gradient of each row `[rows, n]`.
        """
        direction = -gradient
        coefficients = []
        for step, change, rho in reversed(self._pairs):
            coefficient = dot(step, direction) * rho
            direction = torch.addcmul(direction, change, coefficient, value=-1.0)
            coefficients.append(coefficient)
        direction = direction * self._scale * self._size
        for (step, change, rho), alpha in zip(self._pairs, reversed(coefficients), strict=True):
            direction = torch.addcmul(direction, step, alpha - dot(change, direction) * rho)
        return direction


# Step lengths tried first, in units of the step that L-BFGS proposes.
_TRIED = tuple(2.0**k for k in range(-12, 5))


def lowest_of_quartic(coefficients: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """The minimum of `c1 t + c2 t^2 + c3 t^3 + c4 t^4` over `t > 0`.

    Newton's method from the best of a geometric series.

    Parameters
    ----------
    coefficients
        `c1` to `c4`, each `[rows, 1]`.

    Returns
    -------
    Tensor
        `t` of each row `[rows, 1]`, 0 where the polynomial is nowhere negative.
    """
    c1, c2, c3, c4 = coefficients

    def value(t: Tensor) -> Tensor:
        return t * (c1 + t * (c2 + t * (c3 + t * c4)))

    tried = torch.tensor(_TRIED, dtype=c1.dtype, device=c1.device)
    values, best = value(tried).min(1, keepdim=True)
    coarse = tried[best]
    t = coarse
    for _ in range(3):
        second = 2.0 * c2 + t * (6.0 * c3 + t * (12.0 * c4))
        newton = t - (c1 + t * (2.0 * c2 + t * (3.0 * c3 + t * (4.0 * c4)))) / second
        inside = (second > 0) & (newton > 0.5 * coarse) & (newton < 2.0 * coarse)
        t = torch.where(inside, newton, t)
    t = torch.where(value(t) <= values, t, coarse)
    return torch.where(values < 0, t, 0.0)
