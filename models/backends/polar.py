"""Magnitudes and phases made a spectrum, by arithmetic that is rounded alike everywhere."""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor

from unmel.models.backends.powers import polynomial

# A quarter of a turn in three parts, of which the first ones have few enough digits that their
# product with a count of quarters is exact (Cody and Waite 1980; the parts are those of Cephes).
QUARTER = (1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8)
QUARTERS = 2.0 / math.pi
# sin r = r (S0 + S1 r^2 + ...) and cos r = C0 + C1 r^2 + ..., for |r| <= pi / 4.
SINE = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(5))
COSINE = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(5))


def polar(magnitude: Tensor, phases: Tensor, kernels: ModuleType | None = None) -> Tensor:
    """`magnitude e^(i phases)`, of one shape; `kernels` where the pack has them, for `[T, N]`.

    A library's sine differs from another's in the last bit, and torch's takes ten times as long as
    these steps do, each of which IEEE 754 rounds in one way only. The error is some 1e-7 of the
    magnitude for phases up to 10,000 radians, and grows beyond them. Float64, and devices without a
    promise to keep, take torch's own.
    """
    kind = torch.complex64 if magnitude.dtype == torch.float32 else torch.complex128
    out = torch.empty(magnitude.shape, dtype=kind, device=magnitude.device)
    polar_into(out, magnitude, phases, slice(0, magnitude.shape[-1]), kernels)
    return out


def polar_into(
    out: Tensor, magnitude: Tensor, phases: Tensor, bins: slice, kernels: ModuleType | None
) -> None:
    """Make of `magnitude` and `phases` `[T, N]` those bins of `out` `[T, up to N]`."""
    if kernels is not None:
        arrays = (kernels.view(values) for values in (magnitude, phases, out))
        kernels.polar(*arrays, bins.start, bins.stop)
        return
    cosine, sine = _cosine_and_sine(phases[..., bins])
    part = magnitude[..., bins]
    out[..., bins] = torch.complex(cosine.mul_(part), sine.mul_(part))


def _cosine_and_sine(phases: Tensor) -> tuple[Tensor, Tensor]:
    if phases.dtype != torch.float32 or phases.device.type != "cpu":
        return torch.cos(phases), torch.sin(phases)
    count = torch.floor(phases * QUARTERS + 0.5)
    rest = phases - count * QUARTER[0]
    rest.sub_(count * QUARTER[1]).sub_(count * QUARTER[2])
    square = rest * rest
    sine, cosine = polynomial(square, SINE).mul_(rest), polynomial(square, COSINE)
    halves = torch.floor(count * 0.5)
    odd = count != halves * 2.0
    turned = halves - torch.floor(halves * 0.5) * 2.0
    sign = 1.0 - turned * 2.0
    return torch.where(odd, -sine, cosine).mul_(sign), torch.where(odd, cosine, sine).mul_(sign)
