"""Between the host and a device: one copy for many tensors, by way of pinned memory.

A copy from memory that the system may move makes the host wait until it is done, and every copy
costs its start, however short it is. Pinned memory is copied while the host goes on; torch keeps
it until the copy is done, and for the next one. On a CPU nothing is copied at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Bytes: what begins at a multiple of it can be read as any type, and fast.
_ALIGNMENT = 64


def staging(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory of the host, to be filled and sent to `device`, or filled from there."""
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=device.type == "cuda")


def send(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; the host does not wait for those in pinned memory."""
    return values.to(device, non_blocking=True)


def upload(parts: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of the host, of any shapes and types, on `device`, by one copy."""
    if not parts or device.type == "cpu":
        return list(parts)
    places = _places([part.numel() * part.element_size() for part in parts], _ALIGNMENT)
    packed = staging((places[-1].stop,), torch.uint8, device)
    for part, place in zip(parts, places, strict=True):
        packed[place].view(part.dtype).view(part.shape).copy_(part)
    there = send(packed, device)
    return [
        there[place].view(part.dtype).view(part.shape)
        for part, place in zip(parts, places, strict=True)
    ]


def download(parts: Sequence[Tensor]) -> list[Tensor]:
    """Float or complex tensors of one device on the host, in single precision, by one copy; those
    of a CPU as they are. The only wait for a device: all that was asked of it is done then.
    """
    if not parts or parts[0].device.type == "cpu":
        return list(parts)
    shapes = [(*part.shape, 2) if part.is_complex() else tuple(part.shape) for part in parts]
    places = _places([math.prod(shape) for shape in shapes])
    there = torch.empty(places[-1].stop, dtype=torch.float32, device=parts[0].device)
    for part, shape, place in zip(parts, shapes, places, strict=True):
        there[place].view(shape).copy_(torch.view_as_real(part) if part.is_complex() else part)
    packed = staging(there.shape, torch.float32, there.device)
    packed.copy_(there)
    found = []
    for part, shape, place in zip(parts, shapes, places, strict=True):
        # Out of the pinned memory, which the next pack wants and an answer would hold for long.
        values = packed[place].view(shape).clone()
        found.append(torch.view_as_complex(values) if part.is_complex() else values)
    return found


def _places(sizes: Sequence[int], alignment: int = 1) -> list[slice]:
    """Where parts of these sizes lie, one behind the other."""
    places, end = [], 0
    for size in sizes:
        first = -(-end // alignment) * alignment
        end = first + size
        places.append(slice(first, end))
    return places
