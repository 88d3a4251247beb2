"""Inner loops that numba compiles: what torch does in many passes over memory, in one.

Each is the twin of torch code (named in its docstring) and takes the same steps of float32 in
the same order, without fused or reordered arithmetic, so that both give the same bits. Loops run
over slices of one row and with few arrays at a time, or LLVM does not vectorise them. Importing
this package compiles or loads everything in it: `models/compiled.py` does that.
"""

from models.kernels.frames import frame, move, overlap_add
from models.kernels.islands import grow
from models.kernels.loop import view
from models.kernels.mel import aim, mend, spread
from models.kernels.powers import polar, raise_to
from models.kernels.turns import iterate
from models.transforms import transforms

transforms(64)  # looked for now, and not by the first request

DEVICE = "cpu"
"""Whose tensors these loops take."""

__all__ = [
    "DEVICE",
    "aim",
    "frame",
    "grow",
    "iterate",
    "mend",
    "move",
    "overlap_add",
    "polar",
    "raise_to",
    "spread",
    "transforms",
    "view",
]
