"""Real transforms of rows, for loops that call them without Python between.

torch for x86 processors is linked with Intel's MKL and its library exports MKL's documented C
interface to Fourier transforms (DFTI). Where that library is found it transforms powers of two, in
place; rocket-fft, which brings DUCC's transforms to code that numba compiles, does all other sizes
and machines. The choice depends on the machine and the size alone, and so do a result's bits.
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

# Floats of the rows that a loop works on before it goes on. With their momentum, and the rows of
# the other iterations, they stay in a core's own cache.
BLOCK_FLOATS = 20480
MIN_BLOCK_ROWS = (
    16  # rows of a block, so that a block's frames reach no further than the next block
)
# MKL's largest size here; beyond it an odd number of rows is rounded otherwise than an even one.
MKL_MAX_POINTS = 8192
KEPT_SIZES = 24  # sizes that a thread has descriptors for: three configs' octaves, and more
TOLERANCE = 1e-5  # a spectrum of some hundred points may be this far from the right one


def width(n: int) -> int:
    """Floats of a row: `n` points, or their spectrum in whole eights of complex numbers."""
    return 2 * (-(-(n // 2 + 1) // 8) * 8)


def block_rows(n: int) -> int:
    """Rows of `n` points to transform together, a multiple of eight."""
    return max(BLOCK_FLOATS // width(n) // 8 * 8, MIN_BLOCK_ROWS)


class Transforms:
    """Transforms of rows of `n` real points, each row of `width(n)` floats.

    The backward one divides by `n`. Each thread has its own: MKL may write to its descriptors.

    Parameters
    ----------
    n
        Points of a row.
    library
        MKL's; without it they are rocket-fft's.

    """

    def __init__(self, n: int, library: ctypes.CDLL | None = None) -> None:
        self.n, self._library, self._handles = n, library, list[ctypes.c_void_p]()
        real, half = width(n), width(n) // 2
        calls: list[list[int]] = [[], []]
        if library is not None:
            for row, function, distances in (
                (calls[0], library.DftiComputeForward, (real, half)),
                (calls[1], library.DftiComputeBackward, (half, real)),
            ):
                row.append(_address(function))
                # As many rows as there are, in as few calls as powers of two sum up to them.
                for k in range(block_rows(n).bit_length()):
                    row.append(self._descriptor(n, 2**k, *distances))
        self.table: NDArray[np.int64] = np.array(calls, np.int64).reshape(2, -1)
        """`[2, J]`, forward and backward: the address of MKL's function and its descriptors for 1,
        2, 4 ... rows; `[2, 0]` for rocket-fft.
        """

    @property
    def in_place(self) -> bool:
        """Whether spectra replace the rows; rocket-fft writes them elsewhere."""
        return self._library is not None

    def _descriptor(self, n: int, count: int, source: int, target: int) -> int:
        library: Any = self._library
        handle = ctypes.c_void_p()
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
        library: Any = self._library
        for handle in self._handles:
            library.DftiFreeDescriptor(ctypes.byref(handle))


class Unavailable(Exception):
    """No such transforms here, or wrong ones."""


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _check(status: int) -> None:
    if status:
        raise Unavailable(f"MKL's status {status}")


_LIBRARY = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
_LOCAL = threading.local()
_LOCK = threading.Lock()
_FOUND: list[ctypes.CDLL | None] = []


def mkl() -> ctypes.CDLL | None:
    """MKL's library, looked for once in a process; None where there is none."""
    with _LOCK:
        if not _FOUND:
            _FOUND.append(_library())
        return _FOUND[0]


def transforms(n: int) -> Transforms:
    """The calling thread's transforms of `n` points."""
    library = mkl() if n & (n - 1) == 0 and n <= MKL_MAX_POINTS else None
    made: OrderedDict[tuple[int, bool], Transforms]
    made = _LOCAL.__dict__.setdefault("made", OrderedDict())
    key = n, library is None
    if key not in made:
        made[key] = Transforms(n, library)
    made.move_to_end(key)
    if len(made) > KEPT_SIZES:
        made.popitem(last=False)
    return made[key]


def _library() -> ctypes.CDLL | None:
    """MKL's library, if it is there and its transforms are right."""
    try:
        library = ctypes.CDLL(str(_LIBRARY))
        _prove(Transforms(_SAMPLE, library))
    except (AttributeError, OSError, Unavailable) as error:
        logger.info("all transforms by rocket-fft: %s", error)
        return None
    return library


_SAMPLE = 64


def _prove(made: Transforms) -> None:
    """Transform three rows forward and backward; Unavailable if either is wrong."""
    n, rows = made.n, np.zeros((3, width(made.n)), np.float32)
    waves = np.random.default_rng(0).standard_normal((len(rows), n), np.float32)
    rows[:, :n] = waves
    spectra = np.fft.rfft(waves.astype(np.float64))
    ways: tuple[tuple[Any, Any], ...] = ((rows.view(np.complex64), spectra), (rows, waves))
    for way, (found, expected) in zip(made.table, ways, strict=True):
        compute = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)(int(way[0]))
        _check(compute(int(way[1]), rows.ctypes.data))
        _check(compute(int(way[2]), rows[1:].ctypes.data))
        error = np.abs(found[:, : expected.shape[1]] - expected).max()
        if not error <= TOLERANCE * np.abs(expected).max():
            raise Unavailable("other values than expected")
