"""Powers and roots of what is not negative, by arithmetic that is rounded alike everywhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# A float32 is m 2^k with m from sqrt(1/2) to sqrt(2); these are the bits of sqrt(1/2).
ROOT_HALF = 0x3F3504F3
# log2 m = s (L0 + L1 s^2 + ...) with s = (m - 1) / (m + 1), the series of artanh: |s| < 0.172.
LOG = tuple(2.0 / ((2 * n + 1) * math.log(2.0)) for n in range(4))
# 2^f = E0 + E1 f + E2 f^2 + ..., the series of exp, for |f| <= 1/2.
EXP = tuple(math.log(2.0) ** n / math.factorial(n) for n in range(7))
LARGEST = 126.0


def raised(values: Tensor, exponent: float) -> Tensor:
    """`values^exponent`, elementwise, for values from zero up to 2^126; zero stays zero.

    A library's `pow` differs from another's in the last bit. Here it is `2^(exponent log2 x)` in
    single steps of float32, each of which IEEE 754 rounds in one way only, and
    `models/kernels/powers.py` takes the same steps. The relative error is some 1e-6. Float64, and
    devices without a promise to keep, take torch's own.
    """
    if values.dtype != torch.float32 or values.device.type != "cpu":
        return torch.pow(values, exponent)
    bits = values.view(torch.int32)
    power = (bits - ROOT_HALF) >> 23
    rest = (bits - (power << 23)).view(torch.float32) - 1.0
    s = rest / (rest + 2.0)
    logarithm = polynomial(s * s, LOG).mul_(s).add_(power).mul_(exponent)
    logarithm.clamp_(-LARGEST, LARGEST)
    whole = torch.floor(logarithm + 0.5)
    scale = ((whole.to(torch.int32) + 127) << 23).view(torch.float32)
    found = polynomial(logarithm.sub_(whole), EXP).mul_(scale)
    return torch.where(values > 0, found, 0.0)


def root_(values: Tensor) -> Tensor:
    """The square root in place, correctly rounded on a CPU: torch's, which is MKL's, is not."""
    if values.device.type != "cpu":
        return values.sqrt_()
    np.sqrt(values.numpy(), out=values.numpy())
    return values


def polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """By Horner's rule, the constant first."""
    value = x * coefficients[-1]
    for coefficient in reversed(coefficients[1:-1]):
        value.add_(coefficient).mul_(x)
    return value.add_(coefficients[0])
