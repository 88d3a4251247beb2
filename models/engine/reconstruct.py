"""One pack from its mel to its waveform, by a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.methods.inversion.inversions import INVERSIONS, transpose
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import GIVEN, Recipe
from unmel.models.methods.start.starts import STARTS
from unmel.models.signal.packed_stft import PackedStft, frame_start_slope
from unmel.models.signal.targets import Target


def reconstruct(
    pack: PackedStft,
    recipe: Recipe,
    targets: Sequence[Target],
    seeds: Sequence[int],
    given: Sequence[NDArray[np.float32] | None],
    *,
    waveform: bool = True,
) -> Tensor | None:
    """Make the clips' waveforms, of the targets' level, the pack's signal.

    Each clip has a target, a seed and, for start `GIVEN`, first phases `[T, N]` in radians,
    counted as torch.stft counts them. Gives the magnitude `[rows, N]` that the inversion found;
    None for a joint method, which has none of its own. Without `waveform` no phase is sought for
    such a magnitude.
    """
    mel = pack.spread_rows([target.mel for target in targets])
    bound = pack.spread_rows([target.bound for target in targets])
    heard = mel.masked_fill(bound, 0.0)  # a floor is an upper bound: nothing is made up there
    if recipe.inversion is None:
        start = transpose(pack, heard)
        phases = _phases(pack, recipe, start, seeds, given)
        JOINT[recipe.method].run(
            pack, mel, bound, start, phases, recipe.schedule, **dict(recipe.params)
        )
        return None
    invert = INVERSIONS[recipe.inversion].run
    magnitude: Tensor = invert(pack, heard, **dict(recipe.inversion_params))
    if waveform:
        phases = _phases(pack, recipe, magnitude, seeds, given)
        PHASES[recipe.method].run(pack, magnitude, phases, recipe.n_iter, **dict(recipe.params))
    return magnitude


def _phases(
    pack: PackedStft,
    recipe: Recipe,
    magnitude: Tensor,
    seeds: Sequence[int],
    given: Sequence[NDArray[np.float32] | None],
) -> Tensor:
    """First phases `[rows, N]`, made by the recipe's start or brought by the clips."""
    if recipe.start != GIVEN:
        made: Tensor = STARTS[recipe.start].run(pack, magnitude, seeds, recipe.schedule.turn)
        return made
    brought = pack.spread_rows([torch.tensor(phases, dtype=pack.plan.dtype) for phases in given])
    config = pack.plan.config
    return brought + frame_start_slope(config.n_fft, config.win_length, brought)
