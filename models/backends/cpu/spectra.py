"""Frames to spectra and back for methods that iterate in Python, by the loops' own transforms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unmel.models.backends.base import Framed, Pack
from unmel.models.backends.cpu.frames import frame, overlap_add
from unmel.models.backends.cpu.iterations import AXES, backward, check_status, forward
from unmel.models.backends.cpu.transforms import transforms, width


def spectra_of(pack: Framed, rows: slice) -> Tensor:
    """`Backend.spectrum`."""
    n, made = pack.n_fft, transforms(pack.n_fft)
    frames = np.empty((rows.stop - rows.start, width(n)), np.float32)
    frame(pack.signal.numpy(), pack.window.numpy(), frames, rows.start, pack.hop)
    spectra = frames if made.in_place else np.empty_like(frames)
    check_status(forward(frames, spectra, n, made.table, AXES))
    return torch.from_numpy(spectra.view(np.complex64)[:, : n // 2 + 1].copy())


def add_spectra(pack: Pack, first: int, spectrum: Tensor) -> None:
    """`Backend.overlap_add`."""
    n, made, (into, scale) = pack.n_fft, transforms(pack.n_fft), pack.sums
    spectra = np.zeros((len(spectrum), width(n)), np.float32)
    spectra.view(np.complex64)[:, : n // 2 + 1] = spectrum.numpy()
    frames = spectra if made.in_place else np.empty_like(spectra)
    check_status(backward(spectra, frames, n, made.table, AXES))
    arrays = pack.window.numpy(), pack.carry.numpy(), scale.numpy(), into.numpy()
    overlap_add(frames, *arrays, first, pack.hop)
