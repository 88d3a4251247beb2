"""The backend of an engine: what computes its packs, chosen once, before the first of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch

from models.compiled import LOOPS
from models.device import DEVICE_LOOPS
from models.errors import Invalid
from models.transforms import mkl

logger = logging.getLogger("unmel.backend")

Name = Literal["torch", "numba", "triton"]
Wanted = Literal["auto", "torch", "numba", "triton"]

FIELD = "UNMEL_BACKEND"


@dataclass(frozen=True)
class Backend:
    """A backend: its name, its transforms and its loops, kept for a process's life."""

    name: Name
    fft: Literal["mkl+ducc", "ducc", "torch", "cufft"]
    """The libraries of the transforms between the loops: MKL has powers of two, DUCC the rest."""
    loops: ModuleType | None = None
    """Compiled loops; those of the host beside torch's on a GPU."""


def choose(wanted: Wanted, device: torch.device) -> Backend:
    """The backend that is wanted; `auto` takes the fastest one that is to be had.

    Parameters
    ----------
    wanted
        `auto`, or the name of a backend that must be had.
    device
        Where the engine's tensors are.

    Returns
    -------
    The backend. Its loops are compiled by then.

    Raises
    ------
    Invalid
        A backend is named that computes on another kind of device, or whose loops cannot be had.

    """
    cuda = device.type == "cuda"
    fast: Name = "triton" if cuda else "numba"
    if wanted not in ("auto", "torch", fast):
        raise Invalid(FIELD, wanted, f"auto, torch or {fast} on a device of type {device.type}")
    if wanted == "torch":
        return Backend("torch", "cufft" if cuda else "torch")
    loops = host = LOOPS.wait()  # a GPU's methods have work for the host too
    if cuda:
        DEVICE_LOOPS.start(device)
        loops = DEVICE_LOOPS.wait()
    if loops is not None:
        if cuda:
            return Backend(fast, "cufft", loops)
        return Backend(fast, "ducc" if mkl() is None else "mkl+ducc", loops)
    if wanted == fast:
        raise Invalid(FIELD, wanted, "auto or torch: its loops cannot be had here, see the log")
    logger.warning("backend torch in place of %s, which is several times as fast", fast)
    return Backend("torch", "cufft", host) if cuda else Backend("torch", "torch")
