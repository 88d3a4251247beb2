"""MKL's real transforms in torch's own library, for loops that call them without Python between.

torch for x86 processors is linked with Intel's MKL and its library exports MKL's documented C
interface to Fourier transforms (DFTI). What torch.fft gives is what it computes, so that the bits
are the same; that is looked at for every size before it is used. Where there is no such library, or
another bit, torch.fft is called instead.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

logger = logging.getLogger("unmel.transforms")

# Names and values of oneMKL's mkl_dfti.h.
_BACKWARD_SCALE, _COUNT, _CONJUGATE_EVEN, _PLACEMENT = 5, 7, 10, 11
_INPUT_DISTANCE, _OUTPUT_DISTANCE, _THREAD_LIMIT = 14, 15, 27
_REAL, _COMPLEX_COMPLEX, _INPLACE = 33, 39, 43

# Of the rows that a loop transforms, and does all else with, before it goes on: with what it
# remembers of them they stay in a core's own cache.
_FLOATS = 2**16
# Beyond it MKL rounds an odd number of rows otherwise than an even one.
_LARGEST = 8192
_KEPT = 24  # sizes that a thread has descriptors for: three configs' octaves, and more


def width(n: int) -> int:
    """Floats of a row: `n` points, or the complex numbers that they become, in the same place."""
    return 2 * (n // 2 + 1)


def block_rows(n: int) -> int:
    """Rows of `n` points to transform together, a multiple of eight."""
    return max(_FLOATS // width(n) // 8 * 8, 8)


class Transforms:
    """In-place transforms of rows of `n` real points, each of `width(n)` floats; the backward one
    divides by `n`. One thread's own: MKL may write to its descriptors.
    """

    def __init__(self, library: ctypes.CDLL, n: int) -> None:
        self._library, self._handles = library, list[ctypes.c_void_p]()
        real, half = width(n), width(n) // 2
        compute = [library.DftiComputeForward, library.DftiComputeBackward]
        table = [[_address(function)] for function in compute]
        # As many rows as there are, in as few calls as powers of two sum up to them.
        for count in (2**k for k in range(block_rows(n).bit_length())):
            for row, distances in zip(table, ((real, half), (half, real)), strict=True):
                row.append(self._descriptor(n, count, *distances))
        self.table: NDArray[np.int64] = np.array(table, np.int64)
        """`[2, J]`, forward and backward: a function's address, descriptors of 1, 2, 4 ... rows."""

    def _descriptor(self, n: int, count: int, source: int, target: int) -> int:
        library, handle = self._library, ctypes.c_void_p()
        _check(library.DftiCreateDescriptor_s_1d(ctypes.byref(handle), _REAL, ctypes.c_long(n)))
        self._handles.append(handle)
        for what, value in (
            (_CONJUGATE_EVEN, _COMPLEX_COMPLEX),
            (_PLACEMENT, _INPLACE),
            (_COUNT, count),
            (_THREAD_LIMIT, 1),
            (_INPUT_DISTANCE, source),
            (_OUTPUT_DISTANCE, target),
        ):
            _check(library.DftiSetValue(handle, what, ctypes.c_long(value)))
        _check(library.DftiSetValue(handle, _BACKWARD_SCALE, ctypes.c_double(1.0 / n)))
        _check(library.DftiCommitDescriptor(handle))
        return handle.value or 0

    def __del__(self) -> None:
        for handle in self._handles:
            self._library.DftiFreeDescriptor(ctypes.byref(handle))


class NotThere(Exception):
    """No such transforms here, or others than torch's."""


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _check(status: int) -> None:
    if status:
        raise NotThere(f"MKL's status {status}")


_LIBRARY = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
_LOCAL = threading.local()
_LOCK = threading.Lock()
_USABLE: dict[int, ctypes.CDLL | None] = {}


def transforms(n: int) -> Transforms | None:
    """The calling thread's transforms of `n` points; None where torch.fft must be called.

    They have torch's bits in a thread that torch computes alone in, as an engine's do.
    """
    if n > _LARGEST:
        return None
    with _LOCK:
        if n not in _USABLE:
            _USABLE[n] = _library(n)
        library = _USABLE[n]
    if library is None:
        return None
    made: OrderedDict[int, Transforms] = _LOCAL.__dict__.setdefault("made", OrderedDict())
    if n not in made:
        try:
            made[n] = Transforms(library, n)
        except NotThere as error:  # no memory for them, say
            logger.warning("transforms of %d points by torch.fft: %s", n, str(error))
            return None
    made.move_to_end(n)
    if len(made) > _KEPT:
        made.popitem(last=False)
    return made[n]


def _library(n: int) -> ctypes.CDLL | None:
    """The library, if its transforms of `n` points are there and torch's to the bit."""
    try:
        library = ctypes.CDLL(str(_LIBRARY))
        _prove(Transforms(library, n), n)
    except (AttributeError, OSError, NotThere) as error:
        logger.info("transforms of %d points by torch.fft: %s", n, error)
        return None
    return library


def _prove(made: Transforms, n: int) -> None:
    """NotThere if any bit of any descriptor's differs from torch's on one thread, to which it sets
    the process as an engine does: on several MKL takes other steps.
    """
    torch.set_num_threads(1)
    counts = [1 << k for k in range(made.table.shape[1] - 1)]
    waves = torch.rand(sum(counts), n, generator=torch.Generator().manual_seed(n)) - 0.5
    with torch.inference_mode():
        spectra = torch.fft.rfft(waves)
        back = torch.fft.irfft(spectra, n=n)
    rows = np.zeros((len(waves), width(n)), np.float32)
    rows[:, :n] = waves.numpy()
    for way, expected in zip(made.table, (spectra.numpy(), back.numpy()), strict=True):
        compute = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)(int(way[0]))
        for count, descriptor in zip(counts, way[1:], strict=True):
            # One behind the other: as many rows stand before one as all smaller ones take.
            _check(compute(int(descriptor), rows[count - 1 :].ctypes.data))
        found = rows.view(np.complex64) if expected.dtype == np.complex64 else rows[:, :n]
        if not np.array_equal(found, expected):
            raise NotThere("a bit differs from torch's")
