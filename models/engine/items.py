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
from unmel.models.engine.work import NOT_FINITE, Resources, Result, Values, finite, plan_warnings
from unmel.models.errors import NonFiniteOutput
from unmel.models.mel.config import MelConfig
from unmel.models.methods.recipe import Recipe
from unmel.models.methods.schedule import NONE, Schedule
from unmel.models.signal.emphasis import deemphasize
from unmel.models.signal.packed_stft import PackedStft, to_frame_start
from unmel.models.signal.plan import Plan
from unmel.models.signal.targets import clip_target, pack_targets
from unmel.models.signal.transfer import copied, download, received

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
        if len(pack) == 1 and self.rows > resources.rows(config, recipe):
            [wave] = download([self._blocks(resources, plan)])
            return [Result(self._finished(finite(wave)), warnings)]
        packed = PackedStft(plan, [(item.frames, item.samples) for item in pack], resources.backend)
        targets = pack_targets(packed, [item.mel for item in pack])
        magnitude = reconstruct(
            packed,
            recipe,
            targets,
            [item.seed for item in pack],
            [item.phases for item in pack],
            waveform=any(item.output != "magnitude" for item in pack),
        )
        outputs = _outputs(pack, targets.gain, packed, magnitude)
        made = zip(pack, outputs, strict=True)
        return [Result(item._finished(values), warnings) for item, values in made]

    def _finished(self, values: Values) -> Values:
        """The result of an output: samples without the extractor's emphasis.

        Raises
        ------
        NonFiniteOutput
            If not all of it is finite.

        """
        coefficient = self.config.preemphasis
        if self.output != "audio" or not coefficient:
            return values
        wave = deemphasize(np.asarray(values, np.float32), coefficient)
        return finite(torch.from_numpy(wave.astype(np.float32)))

    def _blocks(self, resources: Resources, plan: Plan) -> Tensor:
        """The samples `[L]` of an item too long for a pack; TooLarge if it must be one."""
        limit = resources.rows(self.config, self.recipe)
        check_long(self.config, self.recipe, self.output, self.frames, limit)
        target = clip_target(plan, self.mel)
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
        return wave * target.gain[0]


def _outputs(
    items: Sequence[Item], gain: Tensor, pack: PackedStft, magnitude: Tensor | None
) -> list[Values]:
    """Each item's samples `[L]`, magnitude or STFT `[N, T]`, at the client's level; on the host.

    Raises
    ------
    NonFiniteOutput
        If not all of them are finite.

    """
    cpu = pack.plan.device.type == "cpu"
    audio = any(item.output == "audio" for item in items)
    sent = _spectral(items, gain, pack, magnitude)
    if audio and not cpu:
        rows = pack.signal[: pack.used * pack.hop].view(pack.used, pack.hop)
        sent["rows"] = rows * gain.to(rows.dtype)[pack.clip_rows[0]].unsqueeze(1)
        sent["largest"] = torch.linalg.vector_norm(sent["rows"], torch.inf, dim=1)
    came = dict(zip(sent, received(list(sent.values())), strict=True))
    waves, sound = [], None
    if audio and cpu:
        waves = [wave.mul_(factor) for wave, factor in zip(pack.audio(), gain, strict=True)]
    elif audio:
        # Results are parts of one array, which is there as long as one of them.
        kept = torch.from_numpy(copied(came["rows"].view(-1).numpy()))
        waves, sound = pack.audio(kept), np.isfinite(came["largest"].numpy())
    made = []
    for k, (start, _, count) in enumerate(pack.extents):
        if k in came:
            made.append(finite(came[k] if cpu else came[k].clone()))
        elif sound is None:
            made.append(finite(waves[k]))
        elif sound[start : start + count].all():
            made.append(waves[k].numpy())
        else:
            raise NonFiniteOutput(NOT_FINITE)
    return made


def _spectral(
    items: Sequence[Item], gain: Tensor, pack: PackedStft, magnitude: Tensor | None
) -> dict[int | str, Tensor]:
    """The outputs that are not audio, by the number of their item."""
    wanted = [k for k, item in enumerate(items) if item.output != "audio"]
    direct = magnitude is not None and all(items[k].output == "magnitude" for k in wanted)
    # Made only where asked for.
    spectra = None if direct or not wanted else _spectra(pack)
    found: dict[int | str, Tensor] = {}
    for k in wanted:
        first, frames, _ = pack.extents[k]
        rows = slice(first, first + frames)
        if items[k].output == "magnitude" and magnitude is not None:
            values = magnitude[rows].T
        elif spectra is not None:
            values = to_frame_start(pack.plan.config, spectra[rows]).T
            values = values.abs() if items[k].output == "magnitude" else values
        found[k] = values * gain[k]
    return found


def _spectra(pack: PackedStft) -> Tensor:
    """STFT `[rows, N]` of the pack's signal."""
    config = pack.plan.config
    out = torch.empty(pack.rows, config.n_bins, dtype=pack.complex_dtype, device=pack.plan.device)
    for block in pack.blocks():
        out[block] = pack.spectrum(block)
    return out
