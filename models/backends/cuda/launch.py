"""Where a kernel is launched."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def on(tensor: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device, whatever the device of what it is given."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
