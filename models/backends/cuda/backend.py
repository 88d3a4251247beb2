"""The Triton backend: what torch does in many passes over memory, in one or two, on a GPU.

A pack on a GPU is one block. Sums are taken in one order, whatever stands beside a row; nothing
is promised of bits beyond that. Importing this file needs Triton, which torch for CUDA brings; a
kernel is compiled where it is first run.
"""

from __future__ import annotations

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
    Places,
    StepCoefficients,
)
from unmel.models.backends.cuda import frames, mel_step
from unmel.models.backends.reference import TorchBackend


class TritonBackend(TorchBackend):
    """Triton's kernels where torch would need several passes, torch's operations elsewhere.

    Parameters
    ----------
    host
        The backend whose host loops it uses, for the work that no GPU does well.

    """

    name: Name = "triton"

    def __init__(self, host: Backend) -> None:
        super().__init__("cufft")
        self._host = host

    def spectrum(self, signal: Tensor, window: Tensor, n_fft: int, rows: slice, hop: int) -> Tensor:
        """See `Backend.spectrum`."""
        cut = signal.new_empty(rows.stop - rows.start, n_fft)
        frames.frame(signal, window, cut, rows.start, hop)
        spectrum: Tensor = torch.fft.rfft(cut)
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
        """See `Backend.overlap_add`; for a whole pack, so that nothing is carried."""
        _check_whole(first)
        back = torch.fft.irfft(spectrum, n=n_fft)
        frames.overlap_add(back, window, len(carry) + 1, scale, signal, hop)

    def restore_edges(self, signal: Tensor, targets: Tensor, sources: Tensor) -> None:
        """See `Backend.restore_edges`."""
        frames.move(signal, targets, sources)

    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """See `Backend.mel_target`."""
        return MelTarget(mel, bound, bound.view(torch.uint8))

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
        """See `Backend.apply_mel_step`; for a whole pack."""
        _check_whole(row)
        mel_step.apply(spectrum, momentum_state, target, bands, step, power)

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
        """See `Backend.grow_islands`: the host's work on every device."""
        self._host.grow_islands(order, loud, along, across, todo, phase, width)


def _check_whole(first: int) -> None:
    """ValueError for a block that is not the pack's first, and so not its only one."""
    if first:
        raise ValueError(f"a block that begins at row {first}: a GPU's packs are one block")
