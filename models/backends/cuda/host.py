"""What the host does beside a GPU's loops, and what torch does as well as they."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.polar import polar_into
from unmel.models.methods.start.pghi import grow_islands


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
    polar_into(out, magnitude, phases, slice(first, end), None)


def grow(*heap: Any) -> None:
    """`pghi.grow_islands`: the host's work on every device, by its compiled loop if it is there."""
    compiled = LOOPS.wait()
    work = grow_islands if compiled is None else compiled.grow
    work(*heap)
