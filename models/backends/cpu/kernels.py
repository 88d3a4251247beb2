"""Inner loops that numba compiles: what torch does in many passes over memory, in one.

Each is the twin of torch code (named in its docstring) and takes the same steps of float32 in
the same order, without fused or reordered arithmetic, so that both give the same bits. Loops run
over slices of one row and with few arrays at a time, or LLVM does not vectorise them. Importing
this package compiles or loads everything in it: `models/compiled.py` does that.
"""

from unmel.models.backends.cpu.elementwise import polar, raise_to
from unmel.models.backends.cpu.frames import frame, move, overlap_add
from unmel.models.backends.cpu.islands import grow
from unmel.models.backends.cpu.iterations import iterate
from unmel.models.backends.cpu.loop import view
from unmel.models.backends.cpu.mel_step import aim, mend, spread
from unmel.models.backends.cpu.transforms import transforms

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
