"""cuFFT's transforms between buffers of ours: torch's copy what they transform back, and scale it.

An inverse transform of torch's clones its argument and divides in a pass of its own, a quarter of
what an iteration moves, and it allocates what it returns, which a captured graph would keep. Plans
are cuFFT's own, from the library that torch has loaded; a transform back is not divided by its
points.
"""

from __future__ import annotations

import ctypes
import re
import threading
import weakref
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

_REAL_TO_COMPLEX, _COMPLEX_TO_REAL = 0x2A, 0x2C  # cufftType, of cufft.h
_LIBRARY = re.compile(r"\S*/libcufft\.so[.\d]*$", re.MULTILINE)
# A pack of a config with four octaves has ten.
_MOST_PLANS = 512


class TransformError(RuntimeError):
    """cuFFT refused a call."""


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """The cuFFT that torch has loaded.

    Raises
    ------
    OSError
        It has loaded none.

    """
    found = _LIBRARY.search(Path("/proc/self/maps").read_text())
    return ctypes.CDLL(found.group() if found else "libcufft.so")


def _check(status: int, what: str) -> None:
    if status:
        # cuFFT says of memory no more than this number.
        reason = "CUFFT_ALLOC_FAILED" if status == 2 else f"status {status}"
        raise TransformError(f"{what}: {reason}")


class _Plan:
    """A plan of one thread, for rows of a length."""

    def __init__(self, kind: int, points: int, rows: int) -> None:
        library = _library()
        self._handle, size = ctypes.c_int(), ctypes.c_size_t()
        self._kind = kind
        _check(library.cufftCreate(ctypes.byref(self._handle)), "cufftCreate")
        weakref.finalize(self, library.cufftDestroy, self._handle).atexit = False
        _check(library.cufftSetAutoAllocation(self._handle, 0), "cufftSetAutoAllocation")
        one = (ctypes.c_int * 1)(points)
        real, complexes = points, points // 2 + 1
        ends = (real, complexes) if kind == _REAL_TO_COMPLEX else (complexes, real)
        layout = [((ctypes.c_int * 1)(n), ctypes.c_int(1), ctypes.c_int(n)) for n in ends]
        _check(
            library.cufftMakePlanMany(
                self._handle, 1, one, *layout[0], *layout[1], kind, rows, ctypes.byref(size)
            ),
            f"a plan for {rows} transforms of {points} points",
        )
        self.space = size.value
        """Bytes that a run needs."""

    def run(self, source: Tensor, into: Tensor, space: Tensor) -> None:
        library, stream = _library(), torch.cuda.current_stream(source.device).cuda_stream
        _check(library.cufftSetStream(self._handle, ctypes.c_void_p(stream)), "cufftSetStream")
        area = ctypes.c_void_p(space.data_ptr())
        _check(library.cufftSetWorkArea(self._handle, area), "cufftSetWorkArea")
        run = library.cufftExecR2C if self._kind == _REAL_TO_COMPLEX else library.cufftExecC2R
        places = (ctypes.c_void_p(x.data_ptr()) for x in (source, into))
        _check(run(self._handle, *places), "a transform")


class _Plans(threading.local):
    """A thread's plans: no two threads may use one at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int, int, torch.device], _Plan] = OrderedDict()

    def get(self, kind: int, points: int, rows: int, device: torch.device) -> _Plan:
        key = kind, points, rows, device
        if key not in self._kept:
            self._kept[key] = _Plan(kind, points, rows)
            if len(self._kept) > _MOST_PLANS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


_PLANS = _Plans()


def space(frames: Tensor) -> Tensor:
    """Space that the transforms of frames `[T, n_fft]` need, both ways."""
    if not frames.is_cuda:  # the interpreter's
        return frames.new_empty(0)
    rows, points = frames.shape
    with torch.cuda.device(frames.device):
        plans = [
            _PLANS.get(kind, points, rows, frames.device)
            for kind in (_REAL_TO_COMPLEX, _COMPLEX_TO_REAL)
        ]
    most = max(plan.space for plan in plans)
    return torch.empty(most, dtype=torch.uint8, device=frames.device)


def forward(frames: Tensor, spectrum: Tensor, own: Tensor) -> None:
    """Transform frames `[T, n_fft]` to spectra `[T, N]`; all are contiguous, `own` from `space`."""
    if frames.is_cuda:
        _run(_REAL_TO_COMPLEX, frames, frames, spectrum, own)
    else:
        spectrum.copy_(torch.fft.rfft(frames))


def backward(spectrum: Tensor, frames: Tensor, own: Tensor) -> None:
    """Transform spectra `[T, N]` to `n_fft` times their frames `[T, n_fft]`; spectra are lost."""
    if frames.is_cuda:
        _run(_COMPLEX_TO_REAL, frames, spectrum, frames, own)
    else:
        frames.copy_(torch.fft.irfft(spectrum, n=frames.shape[1], norm="forward"))


def _run(kind: int, frames: Tensor, source: Tensor, into: Tensor, own: Tensor) -> None:
    rows, points = frames.shape
    with torch.cuda.device(frames.device):
        _PLANS.get(kind, points, rows, frames.device).run(source, into, own)
