"""Loops for a GPU, written in Triton: what torch does in many passes over memory, in one or two.

The twins of `models/kernels` for tensors of a CUDA device, whose packs are one block each. A row's
sums are taken in one order, whatever stands beside it; nothing is promised of bits beyond that.
Importing this package needs Triton, which torch for CUDA brings; its kernels are compiled where
they are first run: `models/device.py` does that, and looks at what they give, in the background.
"""

from unmel.models.backends.cuda.frames import frame, move, overlap_add
from unmel.models.backends.cuda.host import grow, polar, transforms, view
from unmel.models.backends.cuda.mel_step import aim, mend

DEVICE = "cuda"
"""Whose tensors these loops take."""

__all__ = [
    "DEVICE",
    "aim",
    "frame",
    "grow",
    "mend",
    "move",
    "overlap_add",
    "polar",
    "transforms",
    "view",
]
