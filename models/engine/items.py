"""Item: one reconstruction, and how a pack of them is computed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.engine.long_clips import check_long, reconstruct_long
from unmel.models.engine.memory import row_bytes
from unmel.models.engine.reconstruct import reconstruct
from unmel.models.engine.work import Resources, Result, finite, plan_warnings
from unmel.models.mel.config import MelConfig
from unmel.models.methods.recipe import Recipe
from unmel.models.methods.schedule import NONE, Schedule
from unmel.models.signal.emphasis import deemphasize
from unmel.models.signal.packed_stft import PackedStft, to_frame_start
from unmel.models.signal.plan import Plan
from unmel.models.signal.targets import Target, make_targets
from unmel.models.signal.transfer import download

Output = Literal["audio", "magnitude", "stft"]

# Speed depends neither on how many iterations are asked for nor on their momentum.
_ANY_SCHEDULE = Schedule(0, NONE)


@dataclass(frozen=True, eq=False)
class Item:
    """One reconstruction: checked mel values `[T, K]` and what is wanted of them."""

    mel: NDArray[np.float32]
    config: MelConfig
    recipe: Recipe
    samples: int
    seed: int = 0
    output: Output = "audio"
    phases: NDArray[np.float32] | None = None
    """First phases `[T, N]` in radians, counted as torch.stft counts them, for start `GIVEN`."""

    @property
    def frames(self) -> int:
        return int(self.mel.shape[0])

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that it makes."""
        return self.samples / self.config.sample_rate

    @property
    def key(self) -> tuple[MelConfig, Recipe]:
        """Items of one key can share a pack: they agree in all that alters the iteration."""
        return self.config, self.recipe

    @property
    def speed_key(self) -> Hashable:
        """Items of one key are computed at one speed, however many iterations they take."""
        return self.config.kind, replace(self.recipe, schedule=_ANY_SCHEDULE)

    @property
    def rows(self) -> int:
        """Rows of a pack that the item takes, its gap included."""
        return self.config.rows(self.frames, self.samples)

    @property
    def nbytes(self) -> int:
        """Bytes of a pack that the item takes; more than the budget if it is done in blocks."""
        return self.rows * row_bytes(self.config, self.recipe)

    @property
    def cost(self) -> float:
        """Work in units that grow as the time does, whatever the method: see `Recipe.points`."""
        alone = self.output == "magnitude"
        return self.rows * self.recipe.points(self.config, magnitude_only=alone)

    def compute(self, resources: Resources, pack: Sequence[Item]) -> list[Result]:
        """The results of a pack of one key, of which it is the first."""
        config, recipe = self.key
        plan = resources.plans.get(config)
        warnings = plan_warnings(plan.empty)
        targets = make_targets(plan, [item.mel for item in pack])
        if len(pack) == 1 and self.rows > resources.rows(config, recipe):
            [wave] = download([self._blocks(resources, plan, targets[0])])
            return [Result(self._finished(wave), warnings)]
        packed = PackedStft(plan, [(item.frames, item.samples) for item in pack], resources.backend)
        magnitude = reconstruct(
            packed,
            recipe,
            targets,
            [item.seed for item in pack],
            [item.phases for item in pack],
            waveform=any(item.output != "magnitude" for item in pack),
        )
        # Made only where asked for; an empty one is never read.
        wanted = any(item.output != "audio" for item in pack)
        spectra = _spectra(packed) if wanted else torch.empty(0, device=plan.device)
        outputs = download(_outputs(pack, targets, packed, magnitude, spectra))
        made = zip(pack, outputs, strict=True)
        return [Result(item._finished(values), warnings) for item, values in made]

    def _finished(self, output: Tensor) -> NDArray[np.float32] | NDArray[np.complex64]:
        """The result of an output on the host: samples without the extractor's emphasis.

        Raises
        ------
        NonFiniteOutput
            If not all of it is finite.

        """
        values, coefficient = finite(output), self.config.preemphasis
        if self.output != "audio" or not coefficient:
            return values
        wave = deemphasize(np.asarray(values, np.float32), coefficient)
        return finite(torch.from_numpy(wave.astype(np.float32)))

    def _blocks(self, resources: Resources, plan: Plan, target: Target) -> Tensor:
        """The samples `[L]` of an item too long for a pack; TooLarge if it must be one."""
        limit = resources.rows(self.config, self.recipe)
        check_long(self.config, self.recipe, self.output, self.frames, limit)
        wave = reconstruct_long(
            plan,
            resources.backend,
            self.recipe,
            target,
            self.samples,
            self.seed,
            self.phases,
            limit,
        )
        return wave * target.gain


def _outputs(
    items: Sequence[Item],
    targets: Sequence[Target],
    pack: PackedStft,
    magnitude: Tensor | None,
    spectra: Tensor,
) -> list[Tensor]:
    """Each item's samples `[L]`, magnitude or STFT `[N, T]`, at the client's level."""
    config = pack.plan.config
    outputs = []
    for item, target, wave, start in zip(items, targets, pack.audio(), pack.starts, strict=True):
        rows = slice(start, start + item.frames)
        if item.output == "audio":
            values = wave
        elif item.output == "magnitude" and magnitude is not None:
            values = magnitude[rows].T
        else:
            values = to_frame_start(config, spectra[rows]).T
            values = values.abs() if item.output == "magnitude" else values
        outputs.append(values * target.gain)
    return outputs


def _spectra(pack: PackedStft) -> Tensor:
    """STFT `[rows, N]` of the pack's signal."""
    config = pack.plan.config
    out = torch.empty(pack.rows, config.n_bins, dtype=pack.complex_dtype, device=pack.plan.device)
    for block in pack.blocks():
        out[block] = pack.spectrum(block)
    return out
