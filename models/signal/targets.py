"""Targets of a reconstruction: a client's mel values made linear, scaled, with floors marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.reference import pow_nonnegative
from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import upload

# Values up to this factor above the floor count as floor: 16-bit floats round a log mel by 1 %.
_FLOOR_MARGIN = 1.02


@dataclass(frozen=True)
class Target:
    """One clip's target, with magnitudes divided by `gain`."""

    mel: Tensor
    """Linear mel `[T, K]` with the plan's K, its largest value in [1, 2) (all zero for silence)."""
    bound: Tensor
    """Bool `[T, K]`: true where `mel` is the extractor's floor, an upper bound and not a level."""
    gain: float
    """Factor of the reconstructed samples."""


class _BandConstants(NamedTuple):
    """A plan's constants per band `[K]`, on the host."""

    alive: Tensor
    silence: Tensor
    weight: Tensor


_COPIES: WeakKeyDictionary[Plan, _BandConstants] = WeakKeyDictionary()


def _band_constants(plan: Plan) -> _BandConstants:
    """Copied from a GPU once in a plan's life, because the copy waits for the device."""
    if plan.device.type == "cpu":
        return _BandConstants(plan.alive, plan.silence, plan.band_weight)
    if plan not in _COPIES:
        constants = (plan.alive.cpu(), plan.silence.cpu(), plan.band_weight.cpu())
        _COPIES[plan] = _BandConstants(*constants)
    return _COPIES[plan]


def make_targets(plan: Plan, mels: Sequence[NDArray[np.float32]]) -> list[Target]:
    """The targets of a pack's clips, on the plan's device.

    They are computed on the host, because each clip's scale depends on its loudest value and
    reading that from a device would wait for it.

    Parameters
    ----------
    plan
        The config's plan.
    mels
        Stored mel values `[T, n_mels]` of each clip.
    """
    targets = [_target(plan, torch.tensor(mel)) for mel in mels]
    count = len(targets)
    sent = upload([t.mel for t in targets] + [t.bound for t in targets], plan.device)
    parts = zip(targets, sent[:count], sent[count:], strict=True)
    return [replace(target, mel=mel, bound=bound) for target, mel, bound in parts]


def _target(plan: Plan, values: Tensor) -> Target:
    """The target of stored values `[T, n_mels]`, on the host."""
    mel, bound = levels(plan, values)
    # A power of two divides exactly, and lets the guards against 0/0 be absolute numbers.
    loudest = float(mel.max()) if mel.numel() else 0.0
    scale = 2.0 ** math.floor(math.log2(loudest)) if loudest > 0 else 1.0
    return Target(mel / scale, bound, scale ** (1.0 / plan.config.power))


def levels(plan: Plan, values: Tensor, loudest_before: float = 0.0) -> tuple[Tensor, Tensor]:
    """Linear mel of stored values, and the places of the floor; on the host.

    Parameters
    ----------
    plan
        The config's plan, on any device.
    values
        Stored values `[T, n_mels]`.
    loudest_before
        Loudest linear value of the clip before these frames, for scales whose floor lies
        relative to the loudest value.

    Returns
    -------
    tuple of Tensor
        Linear mel `[T, K]` with the plan's K, and bool `[T, K]`, true at the extractor's floor.
    """
    config, bands = plan.config, _band_constants(plan)
    values = values.to(plan.dtype)
    mel = torch.nn.functional.pad(
        config.decompress(values), (0, bands.alive.numel() - config.n_mels)
    )
    mel = mel * bands.alive
    loudest = mel if loudest_before == 0.0 else mel.max().clamp_min(loudest_before)
    floor = torch.clamp_min(bands.silence, config.scale.clamp_level(loudest, config.power))
    bound = (mel <= floor * _FLOOR_MARGIN) & (floor > 0)
    return _without_epsilon(plan, mel), bound


def _without_epsilon(plan: Plan, mel: Tensor) -> Tensor:
    """The mel of |X| from that of sqrt(|X|^2 + e).

    Exact for powers and for a band of equal bins, elsewhere a close lower bound; the difference
    matters only within 10 dB of the floor.
    """
    config = plan.config
    if not config.magnitude_eps:
        return mel
    added = math.pow(config.magnitude_eps, config.power / 2) * _band_constants(plan).weight
    if config.power == 2:
        return (mel - added).clamp_min(0.0)
    if config.power == 1:
        return torch.sqrt((mel * mel - added * added).clamp_min(0.0))
    # As shares of the mel, whose own square may be too large or too small for a float.
    share = pow_nonnegative(torch.where(mel > added, added / mel, 1.0), 2.0 / config.power)
    return mel * pow_nonnegative(1.0 - share, config.power / 2)
