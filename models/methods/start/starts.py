"""Where an iteration starts: each clip's first phases, by name.

Every function takes the pack, the first magnitude `[rows, N]`, the clips' seeds and the share of
the circle that random phases fill, and gives phases `[rows, N]` in radians, counted from the
first sample of a frame's window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unmel.models.mel.config import MelConfig
from unmel.models.methods.method import Cost, Method, Work
from unmel.models.methods.projection import state
from unmel.models.methods.start.pghi import check_overlap, pghi
from unmel.models.methods.start.random_phases import random_phases
from unmel.models.methods.start.spsi import spsi
from unmel.models.signal.packed_stft import PackedStft


def polar(pack: PackedStft, magnitude: Tensor, phases: Tensor) -> Tensor:
    """`magnitude e^(i phases)` `[T, N]`."""
    out = torch.empty(magnitude.shape, dtype=pack.complex_dtype, device=magnitude.device)
    pack.backend.polar(out, magnitude, phases, slice(0, magnitude.shape[1]))
    return out


def kept_spectrum(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, factor: float = 1.0
) -> Tensor:
    """`factor magnitude e^(i phases)` `[rows, N]`, for an iteration to keep."""
    kept = state(pack)
    for block in pack.blocks():
        kept[block] = polar(pack, magnitude[block] * factor, phases[block])
    return kept


def synthesize(pack: PackedStft, magnitude: Tensor, phases: Tensor) -> None:
    """Make the inverse STFT of `magnitude` and `phases` `[rows, N]` the pack's signal."""
    pack.begin()
    for block in pack.blocks():
        pack.add(block, polar(pack, magnitude[block], phases[block]))
    pack.finish()


def zero_phases(pack: PackedStft, magnitude: Tensor, seeds: Sequence[int], turn: float) -> Tensor:
    """Zero phases, at every frame's middle, where the window is highest."""
    config = pack.plan.config
    bins = torch.arange(config.n_bins, dtype=pack.plan.dtype, device=pack.plan.device)
    slope = -2.0 * torch.pi * (config.win_length // 2) / config.n_fft
    return (bins * slope).expand(pack.rows, -1).clone()


STARTS: dict[str, Method] = {
    "random": Method(random_phases, "Griffin and Lim 1984; librosa's default", Cost()),
    "zero": Method(zero_phases, "the usual baseline", Cost()),
    "spsi": Method(
        spsi,
        "Beauregard, Harish and Wyse 2015",
        Cost(once=Work(pairs=10), note=" in time, frame after frame"),
        bin_floats=28,
        host="launches every frame's step",
    ),
    "pghi": Method(
        pghi,
        "Prusa, Balazs and Sondergaard 2017",
        Cost(once=Work(pairs=30), note=" in time, for a heap over frames and bins on the CPU"),
        allows=check_overlap,
        bin_floats=24,
        host="integrates from bin to bin, the loudest first",
    ),
}


def check_start(name: str, config: MelConfig) -> None:
    """Invalid where the config does not allow a start; the start itself would say so later.

    Phases that are given instead of a start of that name are allowed everywhere.
    """
    row = STARTS.get(name)
    if row is not None and row.allows is not None:
        row.allows(config)
