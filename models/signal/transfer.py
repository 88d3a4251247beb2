"""Copies between the host and a device: one for many tensors, through pinned memory.

A copy from pageable memory blocks the host, and every copy has a fixed cost, however short it is.
Pinned memory is copied while the host goes on; torch keeps it until the copy is done, and reuses
it. On a CPU nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bytes: an address that is a multiple of it suits any type and vector loads.
_ALIGNMENT = 64
# Values that a thread copies at a time, and the threads.
_COPIED = 2**20
_COPIERS = ThreadPoolExecutor(8, "copy")


def staging(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialised tensor on the host, pinned for copies to or from a GPU.

    Parameters
    ----------
    shape
        Shape of the tensor.
    dtype
        Its type.
    device
        The other end of the copy.
    """
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=device.type == "cuda")


def send(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from pinned memory the copy is asynchronous.

    Parameters
    ----------
    values
        A tensor on the host.
    device
        Where it is wanted.
    """
    return values.to(device, non_blocking=True)


def upload(parts: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of the host on a device, by one asynchronous copy.

    Parameters
    ----------
    parts
        Tensors on the host, of any shapes and types.
    device
        Where they are wanted; on a CPU they are returned as they are.
    """
    if not parts or device.type == "cpu":
        return list(parts)
    places = _places([part.numel() * part.element_size() for part in parts], _ALIGNMENT)
    packed = staging((places[-1].stop,), torch.uint8, device)
    for part, place in zip(parts, places, strict=True):
        packed[place].view(part.dtype).view(part.shape).copy_(part)
    sent = send(packed, device)
    return [
        sent[place].view(part.dtype).view(part.shape)
        for part, place in zip(parts, places, strict=True)
    ]


def received(parts: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of one device on the host, by one copy, which waits for the device.

    Parameters
    ----------
    parts
        Float or complex tensors on one device; those of a CPU are returned as they are.

    Returns
    -------
    list of Tensor
        The same in single precision, in pinned memory that the next pack needs: what is kept has to
        be copied.
    """
    if not parts or parts[0].device.type == "cpu":
        return list(parts)
    shapes = [(*part.shape, 2) if part.is_complex() else tuple(part.shape) for part in parts]
    places = _places([math.prod(shape) for shape in shapes], 2)  # as complex numbers stand
    packed = torch.empty(places[-1].stop, dtype=torch.float32, device=parts[0].device)
    for part, shape, place in zip(parts, shapes, places, strict=True):
        packed[place].view(shape).copy_(torch.view_as_real(part) if part.is_complex() else part)
    pinned = staging(packed.shape, torch.float32, packed.device)
    pinned.copy_(packed)
    found = [pinned[place].view(shape) for shape, place in zip(shapes, places, strict=True)]
    return [
        torch.view_as_complex(values) if part.is_complex() else values
        for part, values in zip(parts, found, strict=True)
    ]


def download(parts: Sequence[Tensor]) -> list[Tensor]:
    """What `received` gives, each in memory of its own; on a CPU the parts themselves."""
    if not parts or parts[0].device.type == "cpu":
        return list(parts)
    return [values.clone() for values in received(parts)]


def copied(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy of values `[L]`, a long one by several threads.

    Memory that is touched for the first time costs more than the copy.
    """
    out = np.empty_like(values)
    places = [slice(first, first + _COPIED) for first in range(0, len(values), _COPIED)]
    for _ in _COPIERS.map(lambda place: np.copyto(out[place], values[place]), places):
        pass
    return out


def _places(sizes: Sequence[int], alignment: int) -> list[slice]:
    """Slices of consecutive parts of these sizes, each aligned."""
    places, end = [], 0
    for size in sizes:
        first = -(-end // alignment) * alignment
        end = first + size
        places.append(slice(first, end))
    return places
