"""What a pack needs of memory: bytes of a row, by its config and recipe."""

from __future__ import annotations

from unmel.models.mel.config import MelConfig
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import Recipe
from unmel.models.methods.start.starts import STARTS

DEFAULT_PACK_BYTES = 512 * 2**20
_FLOAT = 4

# Floats that any recipe keeps of a row. Of a bin: start, phases and what they were drawn as, and
# one complex spectrum; of a sample: signal, envelope, and what the envelope was computed in; of a
# band: the mel as it came, as it was decompressed, scaled, laid out, and laid out without floors.
_PER_BIN, _PER_SAMPLE, _PER_BAND = 5, 5, 5


def row_bytes(config: MelConfig, recipe: Recipe) -> int:
    """Bytes of a float32 pack that a row takes at most, the buffers of one block aside."""
    params = dict(recipe.params)
    used = [JOINT[recipe.method]] if recipe.inversion is None else [PHASES[recipe.method]]
    if recipe.inversion is not None:
        used.append(INVERSIONS[recipe.inversion])
    if recipe.start in STARTS:
        used.append(STARTS[recipe.start])
    floats = float(_PER_BIN * config.n_bins + _PER_SAMPLE * config.hop_length)
    floats += _PER_BAND * config.n_mels
    for method in used:
        floats += method.bin_floats * config.n_bins
        floats += method.sample_floats * config.hop_length * params.get("history", 1)
    return int(_FLOAT * floats)
