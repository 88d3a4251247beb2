"""Packs for tests: voices of several lengths, their magnitudes, and what a method makes of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.signals import voice
from unmel.models.engine.turn import turn
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.start.starts import STARTS
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan, build_plan


@functools.cache
def plan_of(name: str, dtype: torch.dtype = torch.float64) -> Plan:
    return build_plan(PRESETS[name].config, torch.device("cpu"), dtype)


def voices(plan: Plan, seconds: Sequence[float]) -> list[NDArray[np.float64]]:
    """Voices cut to the samples that their frames give back."""
    config = plan.config
    waves = [voice(s, config.sample_rate, seed=k) for k, s in enumerate(seconds)]
    return [w[: config.samples(config.frames(len(w)))].astype(np.float64) for w in waves]


def pack_of(plan: Plan, waves: Sequence[NDArray[np.float64]]) -> PackedStft:
    return PackedStft(plan, [(plan.config.frames(len(w)), len(w)) for w in waves])


def magnitude_of(pack: PackedStft, waves: Sequence[NDArray[np.float64]]) -> Tensor:
    """The magnitude `[rows, N]` of the waves, zero between the clips."""
    pack.load([torch.from_numpy(w).to(pack.plan.dtype) for w in waves])
    rows = torch.cat([pack.spectrum(block).abs() for block in pack.blocks()])
    return pack.spread_rows(
        [rows[s : s + t] for s, (t, _) in zip(pack.starts, pack.clips, strict=True)]
    )


def recovered(
    plan: Plan,
    waves: Sequence[NDArray[np.float64]],
    method: str,
    n_iter: int,
    *,
    start: str = "random",
    seeds: Sequence[int] | None = None,
    given: NDArray[np.float64] | None = None,
    **params: float,
) -> list[NDArray[np.float64]]:
    """What a phase method makes of the waves' magnitudes; `given` are one clip's first phases."""
    pack = pack_of(plan, waves)
    magnitude = magnitude_of(pack, waves)
    seeds = list(range(len(waves))) if seeds is None else seeds
    with torch.inference_mode(), turn(plan.device):
        if given is None:
            phases = STARTS[start].run(pack, magnitude, seeds, 1.0)
        else:
            phases = pack.spread_rows([torch.from_numpy(given)])
        row = PHASES[method]
        row.run(pack, magnitude, phases, n_iter, **dict(row.resolve(params, "params")))
        return [wave.numpy() for wave in pack.audio()]


def magnitude_error(plan: Plan, wave: NDArray[np.float64], result: NDArray[np.float64]) -> float:
    """Spectral convergence: distance of the magnitudes, relative."""
    a, b = (magnitude_of(pack_of(plan, [wave]), [w]) for w in (wave, result))
    return float(torch.linalg.norm(a - b) / torch.linalg.norm(a))
