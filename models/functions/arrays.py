"""Arrays of numpy or torch in, and samples of the same kind out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_OWN = {torch.float32, torch.float64}


def host_array(mel: object) -> NDArray[Any]:
    """A tensor, or what numpy takes for an array, as numpy's; without a gradient."""
    if not isinstance(mel, Tensor):
        return np.asarray(mel)
    values = mel.detach()
    if values.is_floating_point() and values.dtype not in _OWN:  # numpy has no bfloat16
        values = values.to(torch.float32)
    return values.cpu().numpy()


def samples_like(samples: NDArray[np.float32], mel: Tensor) -> Tensor:
    """Samples `[...]` on a tensor's device, in double precision where the tensor is."""
    dtype = torch.float64 if mel.dtype == torch.float64 else torch.float32
    return torch.from_numpy(samples).to(mel.device, dtype)


def device_of(mel: object) -> torch.device:
    """The device that an array is computed on by default: a GPU's tensor on its own, else a CPU."""
    on_gpu = isinstance(mel, Tensor) and mel.device.type == "cuda"
    return mel.device if on_gpu and isinstance(mel, Tensor) else torch.device("cpu")
