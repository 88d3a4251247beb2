"""The numba backend: loops in single precision on a CPU. Importing this file compiles them all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import (
    Backend,
    BandTables,
    Doubles,
    MelTarget,
    Name,
    Pack,
    Places,
    StepCoefficients,
)
from unmel.models.backends.cpu import islands, mel_step
from unmel.models.backends.cpu.elementwise import polar
from unmel.models.backends.cpu.frames import frame, move, overlap_add
from unmel.models.backends.cpu.iterations import iterate
from unmel.models.backends.cpu.transforms import transforms


class NumbaBackend(Backend):
    """Compiled loops over numpy's view of a pack's tensors, in single precision."""

    name: Name = "numba"

    @property
    def fft(self) -> str:
        """The libraries of its transforms."""
        return "mkl" if transforms(64) is not None else "torch"

    def spectrum(self, signal: Tensor, window: Tensor, n_fft: int, rows: slice, hop: int) -> Tensor:
        """See `Backend.spectrum`."""
        frames = torch.empty(rows.stop - rows.start, n_fft)
        frame(signal.numpy(), window.numpy(), frames.numpy(), rows.start, hop)
        spectrum: Tensor = torch.fft.rfft(frames)
        return spectrum

    def overlap_add(
        self,
        spectrum: Tensor,
        window: Tensor,
        n_fft: int,
        carry: Tensor,
        scale: Tensor,
        signal: Tensor,
        first: int,
        hop: int,
    ) -> None:
        """See `Backend.overlap_add`."""
        frames = torch.fft.irfft(spectrum, n=n_fft)
        overlap_add(
            frames.numpy(),
            window.numpy(),
            carry.numpy(),
            scale.numpy(),
            signal.numpy(),
            first,
            hop,
        )

    def restore_edges(self, signal: Tensor, targets: Tensor, sources: Tensor) -> None:
        """See `Backend.restore_edges`."""
        move(signal.numpy(), targets.numpy(), sources.numpy())

    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """See `Backend.mel_target`."""
        return MelTarget(mel, bound, mel_step.aim(mel, bound))

    def apply_mel_step(
        self,
        spectrum: Tensor,
        momentum_state: Tensor,
        target: MelTarget,
        row: int,
        bands: BandTables,
        step: StepCoefficients,
        power: int,
    ) -> None:
        """See `Backend.apply_mel_step`."""
        mel_step.mend(spectrum, momentum_state, target.prepared, row, bands, step, power)

    def run_stage(
        self,
        pack: Pack,
        momentum_state: Tensor,
        target: MelTarget,
        bands: BandTables,
        steps: Sequence[StepCoefficients],
        power: int,
    ) -> None:
        """See `Backend.run_stage`; without returning to Python or taking the GIL in between."""
        iterate(pack, momentum_state, target.prepared, bands, tuple(steps), power)

    def polar(self, out: Tensor, magnitude: Tensor, phases: Tensor, bins: slice) -> None:
        """See `Backend.polar`."""
        polar(magnitude.numpy(), phases.numpy(), out.numpy(), bins.start, bins.stop)

    def spread(self, bands: BandTables, values: Tensor, out: Tensor) -> None:
        """See `Backend.spread`."""
        below, shares = bands.tables[3:]
        mel_step.spread(values.numpy(), below, shares, out.numpy(), bands.first)

    def grow_islands(
        self,
        order: Places,
        loud: Doubles,
        along: Doubles,
        across: Doubles,
        todo: NDArray[np.bool_],
        phase: Doubles,
        width: int,
    ) -> None:
        """See `Backend.grow_islands`."""
        islands.grow(order, loud, along, across, todo, phase, width)
