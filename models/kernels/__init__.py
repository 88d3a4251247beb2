"""Inner loops that numba compiles: what torch does in many passes over memory, in one.

Each is the twin of torch code (named in its docstring) and does the same but for roundings. What it
gives for a row does not depend on where the row stands. Loops run over slices of one row and with
few arrays at a time, or LLVM does not vectorise them; the busiest take eight floats as one value.
Importing this package compiles or loads everything in it: `models/compiled.py` does that.
"""

from models.kernels.frames import frame, move, overlap_add
from models.kernels.islands import grow
from models.kernels.loop import view
from models.kernels.mel import aim, spread
from models.kernels.powers import polar
from models.kernels.turns import iterate
from models.transforms import mkl, transforms

mkl()  # looked for now, and not by the first request

DEVICE = "cpu"
"""Whose tensors these loops take."""

__all__ = [
    "DEVICE",
    "aim",
    "frame",
    "grow",
    "iterate",
    "move",
    "overlap_add",
    "polar",
    "spread",
    "transforms",
    "view",
]
