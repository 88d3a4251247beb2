"""Targets of a reconstruction: a client's mel values made linear, scaled, with floors marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.reference import pow_nonnegative
from unmel.models.mel.scale import Level
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import send, staging, upload

# Values up to this factor above the floor count as floor: 16-bit floats round a log mel by 1 %.
_FLOOR_MARGIN = 1.02


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of clips, with magnitudes divided by each clip's gain; on the plan's device."""

    mel: Tensor
    """Linear mel `[rows, K]` with the plan's K; a clip's largest value is in [1, 2) (all zero for
    silence), and between clips it is zero."""
    bound: Tensor
    """Bool `[rows, K]`: true where `mel` is the extractor's floor, an upper bound and no level."""
    gain: Tensor
    """Factor of each clip's reconstructed samples `[clips]`, in double precision."""


class _BandConstants(NamedTuple):
    """A plan's constants per band `[K]`, on the host."""

    alive: Tensor
    silence: Tensor
    weight: Tensor


_COPIES: WeakKeyDictionary[Plan, _BandConstants] = WeakKeyDictionary()


def _band_constants(plan: Plan, device: torch.device) -> _BandConstants:
    """A GPU's are copied to the host once in a plan's life, because the copy waits for it."""
    constants = _BandConstants(plan.alive, plan.silence, plan.band_weight)
    if device.type == plan.device.type:
        return constants
    if plan not in _COPIES:
        _COPIES[plan] = _BandConstants(*(values.cpu() for values in constants))
    return _COPIES[plan]


def pack_targets(pack: PackedStft, mels: Sequence[NDArray[np.float32]]) -> Targets:
    """The targets of a pack's clips, in its rows.

    Parameters
    ----------
    pack
        The pack.
    mels
        Stored mel values `[T, n_mels]` of each clip.
    """
    if pack.plan.device.type == "cpu":
        made = [clip_target(pack.plan, mel) for mel in mels]
        mel = pack.spread_rows([target.mel for target in made])
        bound = pack.spread_rows([target.bound for target in made])
        return Targets(mel, bound, torch.cat([target.gain for target in made]))
    # As they were received, in one copy; what is between the clips does not matter.
    values = staging((pack.rows, mels[0].shape[1]), torch.float32, pack.plan.device)
    rows = values.numpy()
    for stored, start in zip(mels, pack.starts, strict=True):
        rows[start : start + len(stored)] = stored
    return _on_device(pack.plan, send(values, pack.plan.device), pack)


def clip_target(plan: Plan, mel: NDArray[np.float32]) -> Targets:
    """The target of one clip's stored values `[T, n_mels]`, whose frames are the rows."""
    if plan.device.type != "cpu":
        [values] = upload([torch.tensor(mel)], plan.device)
        return _on_device(plan, values, None)
    found, bound = levels(plan, torch.tensor(mel))
    # A power of two divides exactly, and lets the guards against 0/0 be absolute numbers.
    loudest = float(found.max()) if found.numel() else 0.0
    scale = 2.0 ** math.floor(math.log2(loudest)) if loudest > 0 else 1.0
    gain = torch.tensor([scale ** (1.0 / plan.config.power)], dtype=torch.float64)
    return Targets(found / scale, bound, gain)


def _on_device(plan: Plan, values: Tensor, pack: PackedStft | None) -> Targets:
    """The same of a pack's rows on a device, or of one clip's frames, without a look at a value."""
    if pack is None:
        clip, clips = torch.zeros(len(values), dtype=torch.int64, device=plan.device), 1
    else:
        clip, clips = pack.clip_rows[0], len(pack.clips)
    mel = _linear(plan, values)
    if pack is not None:
        between = ~pack.framed.unsqueeze(1)
        mel.masked_fill_(between, 0.0)

    def loudest_of(mel: Tensor) -> Tensor:
        return mel.new_zeros(clips).scatter_reduce_(0, clip, mel.amax(dim=1), "amax")

    loudest = loudest_of(mel)
    mel, bound = _floored(plan, mel, loudest[clip].unsqueeze(1))
    if pack is not None:
        bound.masked_fill_(between, value=False)
    if plan.config.magnitude_eps:
        loudest = loudest_of(mel)
    mantissa, _ = torch.frexp(loudest)
    scale = torch.where(loudest > 0.0, loudest / (2.0 * mantissa), 1.0)  # a power of two, exactly
    gain = scale.double() ** (1.0 / plan.config.power)
    return Targets(mel / scale[clip].unsqueeze(1), bound, gain)


def levels(plan: Plan, values: Tensor) -> tuple[Tensor, Tensor]:
    """Linear mel of one clip's stored values, and the places of the floor; on the host.

    Parameters
    ----------
    plan
        The config's plan, on any device.
    values
        Stored values `[T, n_mels]`.

    Returns
    -------
    tuple of Tensor
        Linear mel `[T, K]` with the plan's K, and bool `[T, K]`, true at the extractor's floor.
    """
    mel = _linear(plan, values)
    return _floored(plan, mel, float(mel.max()) if mel.numel() else 0.0)


class FrameLevels(NamedTuple):
    """Levels of frames of a stream, on the host, with the same bits however they are cut."""

    mel: Tensor
    """Linear mel `[T, K]` with the plan's K."""
    bound: Tensor
    """Bool `[T, K]`, true at the extractor's floor."""
    loudest: list[float]
    """Largest value of each frame's mel."""


def frame_levels(plan: Plan, values: Tensor, loudest_before: float) -> FrameLevels:
    """Levels of a stream's next frames, as if they came one by one.

    Parameters
    ----------
    plan
        The config's plan, on any device.
    values
        Stored values `[T, n_mels]`, at least one frame.
    loudest_before
        Loudest value of the mel of all frames before, for scales whose floor lies relative to it.
    """
    # A library's exponential may round differently in arrays of other sizes or alignment.
    frames = [
        plan.config.decompress(part.clone()) for part in torch.split(values.to(plan.dtype), 1)
    ]
    linear = _alive(plan, torch.cat(frames))
    mel = _without_epsilon(plan, linear)
    loudest = mel.amax(dim=1).double()
    before = torch.cat([loudest.new_tensor([loudest_before]), loudest[:-1]]).cummax(dim=0).values
    known = torch.maximum(before, linear.amax(dim=1))
    return FrameLevels(mel, _bound(plan, linear, known.unsqueeze(1)), loudest.tolist())


def _linear(plan: Plan, values: Tensor) -> Tensor:
    """Linear mel `[T, K]` of stored values, on their device."""
    return _alive(plan, plan.config.decompress(values.to(plan.dtype)))


def _alive(plan: Plan, mel: Tensor) -> Tensor:
    """A linear mel `[T, n_mels]` with the plan's K bands, zero in those without a bin."""
    alive = _band_constants(plan, mel.device).alive
    return torch.nn.functional.pad(mel, (0, alive.numel() - plan.config.n_mels)) * alive


def _floored(plan: Plan, mel: Tensor, loudest: Level) -> tuple[Tensor, Tensor]:
    """A linear mel without the extractor's epsilon, and the places of the floor `[T, K]`."""
    return _without_epsilon(plan, mel), _bound(plan, mel, loudest)


def _bound(plan: Plan, mel: Tensor, loudest: Level) -> Tensor:
    """The places of the floor `[T, K]` of a linear mel.

    `loudest` is the largest value of the clip, or of each row's clip `[T, 1]`.
    """
    config, silence = plan.config, _band_constants(plan, mel.device).silence
    clamp = config.scale.clamp_level(loudest, config.power)
    # A level for each row, or one number for all.
    if isinstance(clamp, Tensor):
        floor = torch.maximum(silence, clamp.to(silence.dtype))
    else:
        floor = silence.clamp_min(clamp)
    return (mel <= floor * _FLOOR_MARGIN) & (floor > 0)


def _without_epsilon(plan: Plan, mel: Tensor) -> Tensor:
    """The mel of |X| from that of sqrt(|X|^2 + e).

    Exact for powers and for a band of equal bins, elsewhere a close lower bound; the difference
    matters only within 10 dB of the floor.
    """
    config = plan.config
    if not config.magnitude_eps:
        return mel
    added = (
        math.pow(config.magnitude_eps, config.power / 2) * _band_constants(plan, mel.device).weight
    )
    if config.power == 2:
        return (mel - added).clamp_min(0.0)
    if config.power == 1:
        return torch.sqrt((mel * mel - added * added).clamp_min(0.0))
    # As shares of the mel, whose own square may be too large or too small for a float.
    share = pow_nonnegative(torch.where(mel > added, added / mel, 1.0), 2.0 / config.power)
    return mel * pow_nonnegative(1.0 - share, config.power / 2)
