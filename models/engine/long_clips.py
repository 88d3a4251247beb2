"""A clip too long for the memory of one pack: in blocks, each on the settled end of the last.

Two blocks that are solved apart and cross-faded cancel where their phases differ. Here a block's
first samples are those that the block before settled: they are put back after every overlap-add,
and the rest has to be consistent with them, so that there is no seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.engine.reconstruct import reconstruct
from unmel.models.errors import TooLarge
from unmel.models.mel.config import MelConfig
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import Recipe
from unmel.models.signal.packed_stft import PackedStft, clip_of
from unmel.models.signal.plan import Plan
from unmel.models.signal.targets import Targets

# Frames of its future that a block sees and leaves to the next, and of settled past that the
# next one begins with. With 16 and with 48 the result scores the same.
_MARGIN = 24


@dataclass(frozen=True)
class Block:
    """Frames `first` to `end` of a clip.

    Samples before frame `settled` are known, those before frame `done` are known afterwards.
    """

    first: int
    settled: int
    done: int
    end: int


def margin(config: MelConfig) -> int:
    """Frames on either side of a border between two blocks that both blocks compute."""
    return max(_MARGIN, 2 * config.overlap)


def blocks(frames: int, limit: int, both: int) -> Iterator[Block]:
    """Cut a clip into the fewest blocks, all about as long.

    Parameters
    ----------
    frames
        Frames of the clip.
    limit
        Most frames of a block; more than twice `both`.
    both
        Half the frames that neighbours share; as many of them are settled.

    """
    if limit <= 2 * both:
        raise ValueError(f"blocks of {limit} frames cannot share {2 * both}")
    step = limit - 2 * both
    count = max(1, -(-(frames - 2 * both) // step))
    step = -(-(frames - 2 * both) // count)
    for k in range(count):
        first, end = k * step, (k + 1) * step + 2 * both
        last = k == count - 1
        yield Block(
            first,
            first + both if k else 0,
            frames if last else end - both,
            frames if last else end,
        )


def check_long(config: MelConfig, recipe: Recipe, output: str, frames: int, limit: int) -> None:
    """Refuse a clip that must be one pack and is too long for it.

    Raises
    ------
    TooLarge
        The clip takes more than `limit` rows, and its spectrum is asked for, its method cannot
        begin from settled samples, or the limit leaves no room for a block.

    """
    table = JOINT if recipe.inversion is None else PHASES
    whole = config.rows(frames, config.samples(frames))
    if whole <= limit or (
        output == "audio"
        and table[recipe.method].in_blocks
        and limit > 2 * margin(config) + config.overlap
    ):
        return
    asked = f"{recipe.method} for {output}" if output != "audio" else recipe.method
    raise TooLarge("mel", f"{frames} frames with {asked}", f"at most {limit - config.overlap}")


def reconstruct_long(
    plan: Plan,
    backend: Backend,
    recipe: Recipe,
    target: Targets,
    samples: int,
    seed: int,
    phases: NDArray[np.float32] | None,
    limit: int,
) -> Tensor:
    """Reconstruct one clip in blocks.

    Parameters
    ----------
    plan, backend, recipe
        What every block is computed with.
    target
        The clip's target, whose rows are its frames.
    samples
        Length of the clip, `L`.
    seed
        Seed of the clip.
    phases
        First phases `[T, N]` in radians, for the start `given`.
    limit
        Most rows of a pack.

    Returns
    -------
    Tensor
        The waveform `[L]`, divided by the target's gain.

    """
    config = plan.config
    frames = len(target.mel)
    spare = config.rows(frames, samples) - frames
    signal = torch.zeros(
        (frames + spare + config.overlap) * config.hop_length, dtype=plan.dtype, device=plan.device
    )
    for block in blocks(frames, limit - spare, margin(config)):
        rows, origin = slice(block.first, block.end), block.first * config.hop_length
        count = block.end - block.first
        # A block that goes on is a clip that ends there: its end is computed again.
        length = samples - origin if block.done == frames else config.samples(count)
        pack = PackedStft(plan, [(count, length)], backend)
        pack.firsts = [block.first]
        if block.settled:
            pack.pin([signal[origin : block.settled * config.hop_length]])
        mel, bound = (pack.spread_rows([whole[rows]]) for whole in (target.mel, target.bound))
        reconstruct(
            pack,
            recipe,
            replace(target, mel=mel, bound=bound),
            [seed],
            [None if phases is None else phases[rows]],
        )
        known = block.settled * config.hop_length
        found = pack.signal[known - origin :]
        if block.done < frames:
            found = found[: (block.done - block.settled) * config.hop_length]
        signal[known : known + len(found)] = found[: len(signal) - known]
    return clip_of(config, signal, samples)
