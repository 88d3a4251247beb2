"""Audio to mel in any config: what the extractors do, for round trips and for tests."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import Invalid
from models.plan import Plan
from models.stft import reflect


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
    rows = support.unfold(0, config.win_length, config.hop_length) * plan.window
    magnitude = torch.fft.rfft(rows, n=config.n_fft).abs()
    if config.magnitude_eps or config.magnitude_floor:
        power = (magnitude**2).clamp_min(config.magnitude_floor**2) + config.magnitude_eps
        magnitude = power.sqrt()
    return torch.mm(magnitude**config.power, plan.bank)


def analyze(plan: Plan, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mel `[K, T]` that the config's extractor makes of samples `[L]`, full scale at 1.

    Computed in the plan's dtype and handed out as float32; raises Invalid for too few samples.
    """
    with torch.inference_mode():
        linear = linear_mel(plan, torch.tensor(wave, dtype=plan.dtype, device=plan.device))
        values = plan.config.compress(linear).T.contiguous().cpu()
        return values.to(torch.float32).numpy().astype(np.float32, copy=False)
