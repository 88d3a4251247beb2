"""The numba backend: loops in single precision on a CPU. Importing this file compiles them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from unmel.models.backends.base import (
    Backend,
    BandTables,
    Floats,
    Framed,
    Islands,
    MelState,
    MelTarget,
    Name,
    Pack,
    StepCoefficients,
)
from unmel.models.backends.cpu import mel_step
from unmel.models.backends.cpu.comb import add_comb, convolve
from unmel.models.backends.cpu.elementwise import draw, polar
from unmel.models.backends.cpu.frames import move
from unmel.models.backends.cpu.islands import grow
from unmel.models.backends.cpu.iterations import iterate
from unmel.models.backends.cpu.spectra import add_spectra, spectra_of
from unmel.models.backends.cpu.transforms import mkl
from unmel.models.backends.cpu.vectors import COUNT
from unmel.models.backends.reference import REFERENCE


def _clips(pack: Pack) -> Iterator[tuple[int, int, slice]]:
    """First and end sample of each clip, and its frames' rows."""
    for start, frames, rows in pack.extents:
        yield start * pack.hop, (start + rows) * pack.hop, slice(start, start + frames)


class NumbaBackend(Backend):
    """Compiled loops over numpy's view of a pack's tensors, in single precision."""

    name: Name = "numba"
    state_multiple = mel_step.GROUP

    def __init__(self) -> None:
        mkl()  # looked for now, and not by the first request

    @property
    def fft(self) -> str:
        """The libraries of its transforms."""
        return "ducc" if mkl() is None else "mkl+ducc"

    def spectrum(self, pack: Framed, rows: slice) -> Tensor:
        """See `Backend.spectrum`."""
        return spectra_of(pack, rows)

    def overlap_add(self, pack: Pack, first: int, spectrum: Tensor) -> None:
        """See `Backend.overlap_add`."""
        add_spectra(pack, first, spectrum)

    def restore_edges(self, pack: Pack) -> None:
        """See `Backend.restore_edges`."""
        targets, sources = pack.edges
        move(pack.signal.numpy(), targets.numpy(), sources.numpy())

    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """See `Backend.mel_target`."""
        return MelTarget(mel, bound, mel_step.grouped_target(mel, bound))

    def run_stage(
        self,
        pack: Pack,
        state: MelState,
        steps: Sequence[StepCoefficients],
        into: Tensor | None = None,
    ) -> None:
        """See `Backend.run_stage`."""
        iterate(pack, state, steps, into)

    def filtered(self, pack: Pack, taps: Floats) -> Tensor:
        """See `Backend.filtered`."""
        signal = pack.signal.numpy()
        out, weights = np.zeros_like(signal), taps.astype(np.float32)
        for first, end, _ in _clips(pack):
            space = np.zeros(end - first + len(taps) + COUNT, np.float32)
            convolve(signal[first:end], weights, space, out[first:end])
        return torch.from_numpy(out)

    def comb(self, pack: Pack, band: Tensor, periods: Tensor, shares: Tensor) -> None:
        """See `Backend.comb`."""
        signal, h, middle = pack.signal.numpy(), band.numpy(), len(pack.window) // 2
        lags, parts = periods.numpy(), shares.numpy()
        for first, end, rows in _clips(pack):
            place = slice(first, end)
            add_comb(signal[place], h[place], lags[rows], parts[rows], pack.hop, middle)

    def draw(self, keys: Tensor, step: float, out: Tensor) -> None:
        """See `Backend.draw`."""
        draw(keys.numpy().view(np.uint32), step, out.numpy())

    def polar(self, out: Tensor, magnitude: Tensor, phases: Tensor, bins: slice) -> None:
        """See `Backend.polar`."""
        polar(magnitude.numpy(), phases.numpy(), out.numpy(), bins.start, bins.stop)

    def spread(self, bands: BandTables, values: Tensor, out: Tensor) -> None:
        """See `Backend.spread`."""
        if bands.banded:
            below, shares = bands.tables[3:5]
            mel_step.spread(values.numpy(), below, shares, out.numpy(), bands.first)
        else:
            REFERENCE.spread(bands, values, out)

    def grow_islands(self, islands: Islands) -> None:
        """See `Backend.grow_islands`."""
        grow(*islands)
