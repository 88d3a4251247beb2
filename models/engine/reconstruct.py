"""Reconstruction of one pack, from mels to waveforms, by a recipe."""

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
from unmel.models.signal.targets import Targets


def reconstruct(
    pack: PackedStft,
    recipe: Recipe,
    targets: Targets,
    seeds: Sequence[int],
    given: Sequence[NDArray[np.float32] | None],
    *,
    waveform: bool = True,
) -> Tensor | None:
    """Reconstruct the clips; the pack's signal becomes their waveforms.

    Parameters
    ----------
    pack
        Pack of the clips.
    recipe
        Methods, schedule and parameters.
    targets
        Targets of the clips, in the pack's rows; the signal has their level.
    seeds
        Seed of each clip.
    given
        Start phases of each clip `[T, N]` for start `GIVEN`, radians, as torch.stft counts them.
    waveform
        Whether the phase method of a two-stage recipe is run.

    Returns
    -------
    Tensor or None
        Magnitude `[rows, N]` of the inversion; None for a joint method.
    """
    mel, bound = targets.mel, targets.bound
    audible = mel.masked_fill(bound, 0.0)  # a floor is an upper bound, not a level to reach
    if recipe.inversion is None:
        start = transpose(pack, audible)
        phases = _phases(pack, recipe, start, seeds, given)
        JOINT[recipe.method].run(
            pack, mel, bound, start, phases, recipe.schedule, **dict(recipe.params)
        )
        return None
    invert = INVERSIONS[recipe.inversion].run
    magnitude: Tensor = invert(pack, audible, **dict(recipe.inversion_params))
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
    """Start phases `[rows, N]`, from the recipe's start or from the client."""
    if recipe.start != GIVEN:
        made: Tensor = STARTS[recipe.start].run(pack, magnitude, seeds, recipe.schedule.turn)
        return made
    rows = pack.spread_rows([torch.tensor(phases, dtype=pack.plan.dtype) for phases in given])
    return rows + frame_start_slope(pack.plan.config, rows)
