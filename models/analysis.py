"""Audio to mel in any config: what the extractors do, for round trips and for tests."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import Invalid
from models.plan import Plan
from models.stft import reflect

_BLOCK = 1024  # frames transformed at once, which bounds the memory


def linear_mel(plan: Plan, wave: Tensor) -> Tensor:
    """Linear mel `[T, K]` of samples `[L]` in the plan's dtype.

    Raises Invalid when there are too few samples for a frame.
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
    if config.padding == "center_constant":
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
    """The mel `[n_mels, T]` that the config's extractor makes of samples `[L]`, full scale at 1.

    Computed in the plan's dtype and handed out as float32; raises Invalid for too few samples,
    and for samples so loud that the mel is not finite.
    """
    with torch.inference_mode():
        linear = linear_mel(plan, torch.tensor(wave, dtype=plan.dtype, device=plan.device))
        values = plan.config.compress(linear).T.contiguous().to("cpu", torch.float32)
        if not bool(torch.isfinite(values).all()):
            raise Invalid("audio", "samples beyond all measure", "samples of the order of 1")
        return values.numpy().astype(np.float32, copy=False)
