"""Audio to mel in any config, as the extractors compute it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.engine.work import Resources, Result, plan_warnings
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.methods.method import Work
from unmel.models.signal.emphasis import emphasize
from unmel.models.signal.pack_tables import reflect
from unmel.models.signal.plan import Plan

_BLOCK = 1024  # frames of one transform call, to bound the memory


@dataclass(frozen=True, eq=False)
class Analysis:
    """One analysis of audio to a mel, work for an engine."""

    wave: NDArray[np.float32]
    """Samples `[L]`, full scale at 1."""
    config: MelConfig
    audio_seconds = 0.0
    """Seconds of audio that it makes: none."""

    @property
    def frames(self) -> int:
        """Frames `T` of the mel."""
        return self.config.frames(len(self.wave))

    @property
    def rows(self) -> int:
        """Rows of work, one a frame."""
        return self.frames

    @property
    def key(self) -> Hashable:
        """Analyses of one key are computed in one call, one by one."""
        return self.config, Analysis

    @property
    def speed_key(self) -> Hashable:
        """Analyses of one key are computed at one speed."""
        return self.config.kind, Analysis

    @property
    def nbytes(self) -> int:
        """Bytes of memory: samples and their positions, a block's frames and spectra, the mel."""
        config, block = self.config, min(self.frames, _BLOCK)
        return 24 * len(self.wave) + 16 * block * config.n_fft + 8 * self.frames * config.n_mels

    @property
    def cost(self) -> float:
        """Work in the units of `Recipe.points`: half a pair of transforms and a product a row."""
        return self.frames * Work(pairs=0.5, products=1.0).points(self.config)

    def compute(self, resources: Resources, pack: Sequence[Analysis]) -> list[Result]:
        """The mels of analyses of one key, of which this is the first."""
        plan = resources.plans.get(self.config)
        warnings = plan_warnings(plan.empty)
        return [Result(analyze(plan, analysis.wave), warnings) for analysis in pack]


def linear_mel(plan: Plan, wave: Tensor) -> Tensor:
    """The linear mel of samples.

    Parameters
    ----------
    plan
        Plan of the config.
    wave
        Samples `[L]` in the plan's type, emphasized where the config says so.

    Returns
    -------
    Tensor
        Linear mel `[T, n_mels]` of the config's power.

    Raises
    ------
    Invalid
        For fewer samples than a frame needs.
    """
    config = plan.config
    samples = int(wave.shape[0])
    frames = config.frames(samples)
    if frames < 1:
        raise Invalid("audio", f"{samples} samples", "enough samples for one frame of this config")
    first = -config.lead
    positions = np.arange(first, first + (frames - 1) * config.hop_length + config.win_length)
    outside = (positions < 0) | (positions >= samples)
    index = torch.as_tensor(np.where(outside, reflect(positions, samples), positions))
    support = wave[index.to(wave.device)]
    if not config.reflects:
        support = support.masked_fill(torch.as_tensor(outside, device=wave.device), 0.0)
    rows = support.unfold(0, config.win_length, config.hop_length)
    out = torch.empty(frames, config.n_mels, dtype=plan.dtype, device=wave.device)
    for first in range(0, frames, _BLOCK):
        block = slice(first, min(first + _BLOCK, frames))
        magnitude = torch.fft.rfft(rows[block] * plan.window, n=config.n_fft).abs()
        if config.magnitude_eps or config.magnitude_floor:
            power = (magnitude**2).clamp_min(config.magnitude_floor**2) + config.magnitude_eps
            magnitude = power.sqrt()
        out[block] = torch.mm(magnitude**config.power, plan.bank)[:, : config.n_mels]
    return out


def analyze(plan: Plan, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mel of the config's extractor, computed in the plan's type.

    Parameters
    ----------
    plan
        Plan of the config.
    wave
        Samples `[L]`, full scale at 1.

    Returns
    -------
    NDArray[np.float32]
        Stored values `[n_mels, T]`.

    Raises
    ------
    Invalid
        For fewer samples than a frame needs, and for samples so large that the mel overflows.
    """
    with torch.inference_mode():
        heard = emphasize(wave, plan.config.preemphasis) if plan.config.preemphasis else wave
        linear = linear_mel(plan, torch.tensor(heard, dtype=plan.dtype, device=plan.device))
        values = plan.config.compress(linear).T.contiguous().to("cpu", torch.float32)
        if not bool(torch.isfinite(values).all()):
            raise Invalid("audio", "samples too large: the mel overflows", "samples near 1")
        return values.numpy().astype(np.float32, copy=False)
