"""The numba backend: loops in single precision on a CPU. Importing this file compiles them all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unmel.models.backends.base import (
    Backend,
    BandTables,
    Islands,
    MelState,
    MelTarget,
    Name,
    Pack,
    StepCoefficients,
)
from unmel.models.backends.cpu import mel_step
from unmel.models.backends.cpu.elementwise import polar
from unmel.models.backends.cpu.frames import frame, move, overlap_add
from unmel.models.backends.cpu.islands import grow
from unmel.models.backends.cpu.iterations import iterate
from unmel.models.backends.cpu.transforms import transforms


class NumbaBackend(Backend):
    """Compiled loops over numpy's view of a pack's tensors, in single precision."""

    name: Name = "numba"

    @property
    def fft(self) -> str:
        """The libraries of its transforms."""
        return "mkl" if transforms(64) is not None else "torch"

    def spectrum(self, pack: Pack, rows: slice) -> Tensor:
        """See `Backend.spectrum`."""
        frames = torch.empty(rows.stop - rows.start, pack.n_fft)
        frame(pack.signal.numpy(), pack.window.numpy(), frames.numpy(), rows.start, pack.hop)
        spectrum: Tensor = torch.fft.rfft(frames)
        return spectrum

    def overlap_add(self, pack: Pack, first: int, spectrum: Tensor) -> None:
        """See `Backend.overlap_add`."""
        frames, (into, scale) = torch.fft.irfft(spectrum, n=pack.n_fft), pack.sums
        overlap_add(
            frames.numpy(),
            pack.window.numpy(),
            pack.carry.numpy(),
            scale.numpy(),
            into.numpy(),
            first,
            pack.hop,
        )

    def restore_edges(self, pack: Pack) -> None:
        """See `Backend.restore_edges`."""
        targets, sources = pack.edges
        move(pack.signal.numpy(), targets.numpy(), sources.numpy())

    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """See `Backend.mel_target`."""
        return MelTarget(mel, bound, mel_step.aim(mel, bound))

    def apply_mel_step(
        self, state: MelState, row: int, spectrum: Tensor, step: StepCoefficients
    ) -> None:
        """See `Backend.apply_mel_step`."""
        mel_step.apply(state, row, spectrum, step)

    def run_stage(self, pack: Pack, state: MelState, steps: Sequence[StepCoefficients]) -> None:
        """See `Backend.run_stage`; without returning to Python or taking the GIL in between."""
        iterate(pack, state, tuple(steps))

    def polar(self, out: Tensor, magnitude: Tensor, phases: Tensor, bins: slice) -> None:
        """See `Backend.polar`."""
        polar(magnitude.numpy(), phases.numpy(), out.numpy(), bins.start, bins.stop)

    def spread(self, bands: BandTables, values: Tensor, out: Tensor) -> None:
        """See `Backend.spread`."""
        below, shares = bands.tables[3:]
        mel_step.spread(values.numpy(), below, shares, out.numpy(), bands.first)

    def grow_islands(self, islands: Islands) -> None:
        """See `Backend.grow_islands`."""
        grow(*islands)
