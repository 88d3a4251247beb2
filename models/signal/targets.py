"""From a client's mel values to what a reconstruction aims at: linear, scaled, floors marked."""

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

from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import upload

# Values this little above the floor count as at it: 16-bit floats round a log mel by up to 1 %.
_FLOOR_MARGIN = 1.02


@dataclass(frozen=True)
class Target:
    """One clip's aim. Magnitudes are those of the clip divided by `gain`."""

    mel: Tensor
    """Linear mel `[T, K]` with the plan's K, its largest value in [1, 2) (all zero for silence)."""
    bound: Tensor
    """`[T, K]` bool: here `mel` is the extractor's floor, an upper bound and not a level."""
    gain: float
    """What the resulting samples are to be multiplied by."""


class _Bands(NamedTuple):
    """A plan's constants of the bands `[K]`, on the host."""

    alive: Tensor
    silence: Tensor
    weight: Tensor


_COPIES: WeakKeyDictionary[Plan, _Bands] = WeakKeyDictionary()


def _bands(plan: Plan) -> _Bands:
    """A device is asked for them once in a plan's life: to ask is to wait for it."""
    if plan.device.type == "cpu":
        return _Bands(plan.alive, plan.silence, plan.band_weight)
    if plan not in _COPIES:
        _COPIES[plan] = _Bands(plan.alive.cpu(), plan.silence.cpu(), plan.band_weight.cpu())
    return _COPIES[plan]


def make_targets(plan: Plan, mels: Sequence[NDArray[np.float32]]) -> list[Target]:
    """The aims of a pack's clips `[T, n_mels]`, made on the host and sent to the plan's device
    together: a clip's loudest value is asked for here, and a device would be waited for.
    """
    made = [make_target(plan, torch.tensor(mel)) for mel in mels]
    there = upload([aim.mel for aim in made] + [aim.bound for aim in made], plan.device)
    parts = zip(made, there[: len(made)], there[len(made) :], strict=True)
    return [replace(aim, mel=mel, bound=bound) for aim, mel, bound in parts]


def make_target(plan: Plan, values: Tensor) -> Target:
    """The aim for stored mel `values` `[T, n_mels]`, on the host.

    The scale is a power of two, so that dividing by it is exact; with it every guard against
    0/0 downstream may be an absolute number and still scale with the input.
    """
    mel, bound = levels(plan, values)
    loudest = float(mel.max()) if mel.numel() else 0.0
    scale = 2.0 ** math.floor(math.log2(loudest)) if loudest > 0 else 1.0
    return Target(mel / scale, bound, scale ** (1.0 / plan.config.power))


def levels(plan: Plan, values: Tensor, before: float = 0.0) -> tuple[Tensor, Tensor]:
    """Linear mel `[T, K]` of stored `values` `[T, n_mels]`, and where it is the floor; on the
    host, whatever the plan's device.

    Some scales' floors lie below the loudest value of the clip: `before` is the loudest of what
    came before these frames.
    """
    config, bands = plan.config, _bands(plan)
    values = values.to(plan.dtype)
    mel = torch.nn.functional.pad(
        config.decompress(values), (0, bands.alive.numel() - config.n_mels)
    )
    mel = mel * bands.alive
    heard = mel if before == 0.0 else mel.max().clamp_min(before)
    floor = torch.clamp_min(bands.silence, config.scale.clamp_level(heard, config.power))
    bound = (mel <= floor * _FLOOR_MARGIN) & (floor > 0)
    return _without_epsilon(plan, mel), bound


def _without_epsilon(plan: Plan, mel: Tensor) -> Tensor:
    """Take out what sqrt(|X|^2 + e) added: exact for a band whose bins are level, and for
    powers; elsewhere a close lower guess. It matters only within 10 dB of the floor.
    """
    config = plan.config
    if not config.magnitude_eps:
        return mel
    added = math.pow(config.magnitude_eps, config.power / 2) * _bands(plan).weight
    if config.power == 2:
        return (mel - added).clamp_min(0.0)
    return torch.sqrt((mel * mel - added * added).clamp_min(0.0))
