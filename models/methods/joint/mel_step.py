"""The mel step of `consistent` over a pack, and what its iterations remember."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unmel.models.backends.base import MelState, MelTarget, StepCoefficients
from unmel.models.signal.packed_stft import PackedStft


class MelIteration:
    """A pack's iterations towards a mel: each a pair of transforms and a mel step.

    Between the steps only `a R_prev + m C` is kept, of the bins that the bands hold; the others
    are zero.

    Parameters
    ----------
    pack
        The pack, of the config's own plan or of an octave's.
    target
        From the backend's `mel_target`.
    blank
        Whether the memory starts at zero; otherwise every row must be begun.

    """

    def __init__(self, pack: PackedStft, target: MelTarget, *, blank: bool = True) -> None:
        plan = pack.plan
        shape, make = (pack.rows, plan.bands.count), torch.zeros if blank else torch.empty
        momentum = make(shape, dtype=pack.complex_dtype, device=plan.device)
        self._pack = pack
        self.state = MelState(target, momentum, plan.bands, plan.config.power)

    def begin(self, block: slice, spectrum: Tensor, reflect: float) -> None:
        """Remember the first `C` `[block, N]`."""
        parts = torch.view_as_real(spectrum[:, self.state.bands.inside])
        torch.mul(parts, reflect, out=torch.view_as_real(self.state.momentum[block]))

    def run(self, steps: Sequence[StepCoefficients]) -> None:
        """Iterate from the pack's signal to its signal."""
        self._pack.backend.run_stage(self._pack, self.state, steps)

    def run_once_into(self, raw: Tensor, step: StepCoefficients) -> None:
        """One iteration whose sums go into `raw`; the signal stays (see `PackedStft.begin`)."""
        pack = self._pack
        pack.begin(raw)
        for run in pack.runs():
            spectrum = pack.spectrum(run)
            pack.backend.apply_mel_step(self.state, run.start, spectrum, step)
            pack.add(run, spectrum)
        pack.finish()
