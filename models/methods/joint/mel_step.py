"""The mel step of `consistent` over a pack, and what its iterations remember."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.backends.base import MelTarget, StepCoefficients
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
        self._pack, self._bands, self._target = pack, plan.bands, target
        self._power = plan.config.power
        make = torch.zeros if blank else torch.empty
        self.momentum_state = make(
            pack.rows, plan.bands.count, dtype=pack.complex_dtype, device=plan.device
        )
        """`[rows, W]`: what the next step subtracts from what it finds."""

    def begin(self, block: slice, spectrum: Tensor, reflect: float) -> None:
        """Remember the first `C` `[block, N]`."""
        parts = torch.view_as_real(spectrum[:, self._bands.inside])
        torch.mul(parts, reflect, out=torch.view_as_real(self.momentum_state[block]))

    def run(self, steps: tuple[StepCoefficients, ...]) -> None:
        """Iterate from the pack's signal to its signal."""
        pack = self._pack
        pack.backend.run_stage(
            pack, self.momentum_state, self._target, self._bands, steps, self._power
        )

    def run_once_into(self, raw: Tensor, step: StepCoefficients) -> None:
        """One iteration whose sums go into `raw`; the signal stays (see `PackedStft.begin`)."""
        pack = self._pack
        pack.begin(raw)
        for run in pack.runs():
            spectrum = pack.spectrum(run)
            pack.backend.apply_mel_step(
                spectrum,
                self.momentum_state,
                self._target,
                run.start,
                self._bands,
                step,
                self._power,
            )
            pack.add(run, spectrum)
        pack.finish()
