"""The choice of an engine's backend, made once, before its first pack."""

from __future__ import annotations

import logging
from typing import Literal

import torch

from unmel.models.backends.base import Backend, Name
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.reference import REFERENCE, TorchBackend
from unmel.models.engine.prove import DEVICE_LOOPS
from unmel.models.errors import Invalid

logger = logging.getLogger("unmel.backend")

Wanted = Literal["auto", "torch", "numba", "triton"]

FIELD = "UNMEL_BACKEND"


def choose(wanted: Wanted, device: torch.device, dtype: torch.dtype = torch.float32) -> Backend:
    """The backend that is wanted; `auto` takes the fastest one that works here.

    Parameters
    ----------
    wanted
        `auto`, or the name of a backend that must work.
    device
        Where the engine's tensors are.
    dtype
        The engine's precision; compiled loops are for single precision, and double takes torch.

    Returns
    -------
    Backend
        Its loops are compiled by then.

    Raises
    ------
    Invalid
        A backend is named that is for another kind of device or precision, or does not work here.

    """
    cuda = device.type == "cuda"
    reference = TorchBackend("cufft") if cuda else REFERENCE
    fast: Name = "triton" if cuda else "numba"
    if wanted not in ("auto", "torch", fast):
        raise Invalid(FIELD, wanted, f"auto, torch or {fast} on a device of type {device.type}")
    if dtype != torch.float32 and wanted == fast:
        raise Invalid(FIELD, wanted, f"auto or torch for {dtype}: its loops are single precision")
    if wanted == "torch" or dtype != torch.float32:
        return reference
    found = DEVICE_LOOPS.wait(device) if cuda else LOOPS.wait()
    if found is not None:
        return found
    if wanted == fast:
        raise Invalid(FIELD, wanted, "auto or torch: it does not work here, the log has the reason")
    logger.warning("using backend torch: %s does not work here; expect several times slower", fast)
    return reference
