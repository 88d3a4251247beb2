"""Memory of a pack: bytes of a row by config and recipe."""

from __future__ import annotations

import torch

from unmel.models.mel.config import MelConfig
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import Recipe
from unmel.models.methods.start.starts import STARTS

DEFAULT_PACK_BYTES = 512 * 2**20
_FLOAT = 4

# Floats of a row that every recipe keeps. Of a bin: start magnitude, phases and a complex spectrum,
# in whose place torch draws the phases; of a sample: signal, envelope and its computation; of a
# band: the mel as received, decompressed, scaled, in the pack, and in the pack without floors.
_PER_BIN, _PER_SAMPLE, _PER_BAND = 4, 5, 5
# Share of a GPU pack's memory that is counted: beside it are frames and spectra of all rows, where
# a CPU has those of a block.
_COUNTED_ON_GPU = 0.55


def row_bytes(config: MelConfig, recipe: Recipe) -> int:
    """Most bytes of a row of a float32 pack, without the buffers of a block.

    Parameters
    ----------
    config
        The mel config.
    recipe
        Methods and parameters.
    """
    params = dict(recipe.params)
    if recipe.inversion is None:
        methods = [JOINT[recipe.method]]
    else:
        methods = [PHASES[recipe.method], INVERSIONS[recipe.inversion]]
    if recipe.start in STARTS:
        methods.append(STARTS[recipe.start])
    per_bin = _PER_BIN + sum(method.bin_floats for method in methods)
    history = params.get("history", 1)
    per_sample = _PER_SAMPLE + history * sum(method.sample_floats for method in methods)
    floats = per_bin * config.n_bins + per_sample * config.hop_length + _PER_BAND * config.n_mels
    return int(_FLOAT * floats)


def countable(pack_bytes: int, device: torch.device) -> int:
    """Bytes of `row_bytes` in a pack that takes no more than `pack_bytes` of a device's memory."""
    return int(pack_bytes * _COUNTED_ON_GPU) if device.type == "cuda" else pack_bytes
