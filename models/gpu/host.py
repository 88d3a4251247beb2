"""What the host does beside a GPU's loops, and what torch does as well as they."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.compiled import LOOPS
from models.pghi import grow_islands

Doubles = NDArray[np.float64]


def view(tensor: Tensor) -> Tensor:
    """A tensor as these loops take it: as it is."""
    return tensor


def check_whole(first: int) -> None:
    """ValueError for a block that is not the pack's first, and so not its only one."""
    if first:
        raise ValueError(f"a block that begins at row {first}: a GPU's packs are one block")


def on(tensor: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device, whatever the device of what it is given."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def transforms(n: int) -> None:
    """No loop of a GPU calls a transform: torch does, between them."""


def polar(magnitude: Tensor, phases: Tensor, out: Tensor, first: int, end: int) -> None:
    """Bins `first` to `end` of `magnitude e^(i phases)`: `polar.polar_into`, once in a run."""
    bins = slice(first, end)
    out[:, bins] = torch.polar(magnitude[:, bins], phases[:, bins])


def grow(
    order: NDArray[np.int64],
    loud: Doubles,
    along: Doubles,
    across: Doubles,
    todo: NDArray[np.bool_],
    phase: Doubles,
    width: int,
) -> None:
    """A heap is the host's work on every device: its compiled loop's, once that is there."""
    compiled = LOOPS.ready
    work = grow_islands if compiled is None else compiled.grow
    work(order, loud, along, across, todo, phase, width)
