"""The Triton backend: what torch does in many passes over memory, in one or two, on a GPU.

A pack on a GPU is one block. Sums are taken in one order, whatever stands beside a row; nothing
is promised of bits beyond that. Importing this file needs Triton, which torch for CUDA brings; a
kernel is compiled where it is first run.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from unmel.models.backends.base import (
    Backend,
    Floats,
    Framed,
    Islands,
    MelState,
    MelTarget,
    Name,
    Pack,
    StepCoefficients,
)
from unmel.models.backends.cuda import comb, frames, phases
from unmel.models.backends.cuda.iterations import Stage
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
        self._stages: WeakKeyDictionary[MelState, Stage] = WeakKeyDictionary()

    def spectrum(self, pack: Framed, rows: slice) -> Tensor:
        """See `Backend.spectrum`."""
        cut = pack.signal.new_empty(rows.stop - rows.start, pack.n_fft)
        uncounted = torch.empty(1, dtype=torch.int32, device=cut.device)
        frames.frame(pack.signal, pack.window, cut, rows.start, pack.hop, uncounted)
        spectrum: Tensor = torch.fft.rfft(cut)
        return spectrum

    def overlap_add(self, pack: Pack, first: int, spectrum: Tensor) -> None:
        """See `Backend.overlap_add`; for a whole pack, so that nothing is carried."""
        _check_whole(first)
        back, (into, scale) = torch.fft.irfft(spectrum, n=pack.n_fft), pack.sums
        frames.overlap_add(back, pack.window, len(pack.carry) + 1, scale, into, pack.hop)

    def restore_edges(self, pack: Pack) -> None:
        """See `Backend.restore_edges`."""
        frames.move(pack.signal, *pack.edges)

    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """See `Backend.mel_target`."""
        return MelTarget(mel, bound, bound.view(torch.uint8))

    def run_stage(
        self,
        pack: Pack,
        state: MelState,
        steps: Sequence[StepCoefficients],
        into: Tensor | None = None,
    ) -> None:
        """See `Backend.run_stage`."""
        if not state.bands.banded:
            super().run_stage(pack, state, steps, into)
            return
        if not steps:
            return
        if state not in self._stages:
            self._stages[state] = Stage(pack, state.bands)
        self._stages[state].run(state, steps, into)

    def filtered(self, pack: Pack, taps: Floats) -> Tensor:
        """See `Backend.filtered`."""
        return comb.filtered(pack.signal, pack.clip_rows, taps, pack.hop)

    def comb(self, pack: Pack, band: Tensor, periods: Tensor, shares: Tensor) -> None:
        """See `Backend.comb`."""
        middle = len(pack.window) // 2
        comb.comb(pack.signal, band, pack.clip_rows, periods, shares, pack.hop, middle)

    def draw(self, keys: Tensor, step: float, out: Tensor) -> None:
        """See `Backend.draw`."""
        phases.draw(keys, step, out)

    def grow_islands(self, islands: Islands) -> None:
        """See `Backend.grow_islands`: the host's work on every device."""
        self._host.grow_islands(islands)


def _check_whole(first: int) -> None:
    """ValueError for a block that is not the pack's first, and so not its only one."""
    if first:
        raise ValueError(f"a block that begins at row {first}: a GPU's packs are one block")
