"""The mel step of `consistent`: a spectrum moved beyond itself and mended against the mel."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from models.projection import LARGEST_RATIO, TINY, squared_magnitude
from models.raising import raised, root_
from models.stft import PackedStft


class Step(NamedTuple):
    """The numbers of one iteration, in the symbols of `consistent`."""

    reach: float
    """`1 + a + m`."""
    blend: float
    """`b`."""
    rest: float
    """`1 - b`."""
    exponent: float
    """`g / p`."""
    keep: float
    """`a` of the next iteration."""
    reflect: float
    """`m` of the next iteration."""


class Aim:
    """What a pack is mended against: `mel` `[rows, K]` is the target, `bound` `[rows, K]` where it
    is an upper bound only. An octave's bands are the first of them.
    """

    def __init__(self, pack: PackedStft, mel: Tensor, bound: Tensor) -> None:
        self.mel, self.bound = mel, bound
        self.compiled = None if pack.kernels is None else pack.kernels.aim(mel, bound)
        """Both as compiled loops take them."""


class Mending:
    """A pack's aim and what its iteration remembers.

    Between the steps only `a R_prev + m C` is kept, of the bins that the bands hold; the others
    are zero. Without `blank` nothing is kept at first, and all rows must be begun.
    """

    def __init__(self, pack: PackedStft, aim: Aim, *, blank: bool = True) -> None:
        plan = pack.plan
        self._pack, self._bands, self._aim = pack, plan.bands, aim.compiled
        self._mel, self._bound = (rows[:, : len(plan.alive)] for rows in (aim.mel, aim.bound))
        self._loops = pack.kernels if hasattr(pack.kernels, "iterate") else None
        # Loops that run all iterations take whole eights of rows and bins.
        rows, bins = (
            n + (-n % 8 if self._loops is not None else 0) for n in (pack.rows, self._bands.count)
        )
        make = torch.zeros if blank else torch.empty
        self._kept = make(rows, bins, dtype=pack.complex_dtype, device=plan.device)
        self.behind = self._kept[: pack.rows, : self._bands.count]
        """`[rows, W]`: what the next step subtracts from what it finds."""
        bands = self._bands
        self._dense: tuple[Tensor, Tensor] | None = None
        # There sums in one order are slow and dense products fast.
        if plan.device.type != "cpu" and pack.kernels is None:
            self._dense = (
                plan.bank[bands.inside].contiguous(),
                plan.spread[:, bands.inside].contiguous(),
            )

    def begin(self, block: slice, spectrum: Tensor, reflect: float) -> None:
        """Remember the first `C` `[block, N]`."""
        parts = torch.view_as_real(spectrum[:, self._bands.inside])
        torch.mul(parts, reflect, out=torch.view_as_real(self.behind[block]))
        self._kept[block, self._bands.count :] = 0.0

    def mend(self, block: slice, here: Tensor, step: Step) -> None:
        """Of `R` `[block, N]` make, in place, the next `C`; `block` begins at a multiple of 8."""
        kernels = self._pack.kernels
        if kernels is None:
            self._mend(block, here, step)
            return
        power = self._pack.plan.config.power
        kernels.mend(here, self.behind, self._aim, block.start, self._bands, step, power)

    def iterate(self, steps: tuple[Step, ...]) -> None:
        """Iterations from the pack's signal to its signal: a pair of transforms and a step each."""
        if self._loops is not None:
            self._iterate(self._loops, steps, None)
            return
        for step in steps:
            self.once(step)

    def _iterate(self, loops: ModuleType, steps: tuple[Step, ...], raw: Tensor | None) -> None:
        pack, config = self._pack, self._pack.plan.config
        made, into = loops.transforms(config.n_fft), None if raw is None else loops.view(raw)
        place = pack.arrays, into, pack.used, pack.hop, made
        loops.iterate(*place, self._kept, self._aim, self._bands, steps, config.power)

    def once(self, step: Step, raw: Tensor | None = None) -> None:
        """An iteration; with `raw`, the signal stays and the sums go there (`PackedStft.begin`)."""
        pack = self._pack
        if self._loops is not None:
            self._iterate(self._loops, (step,), raw)
            return
        pack.begin(raw)
        for run in pack.runs():
            spectrum = pack.spectrum(run)
            self.mend(run, spectrum, step)
            pack.add(run, spectrum)
        pack.finish()

    def _mend(self, block: slice, here: Tensor, step: Step) -> None:
        # Single steps, never a sum with a factor: torch may round that once where others round
        # twice, and the compiled twin has to give the same bits.
        bands, past = self._bands, torch.view_as_real(self.behind[block])
        inside = here[:, bands.inside]
        parts = torch.view_as_real(inside)
        beyond = parts * step.reach - past
        length = root_(squared_magnitude(torch.view_as_complex(beyond)).add_(TINY))
        level = root_(squared_magnitude(inside)).mul_(step.blend)
        level.add_(length * step.rest).clamp_min_(0.0)
        quotient = level / length
        has = self._sums(level if self._pack.plan.config.power == 1 else level * level)
        limit = torch.where(self._bound[block], 1.0, LARGEST_RATIO)
        ratio = torch.minimum(self._mel[block] / has.add_(TINY), limit)
        if step.exponent != 1.0:
            ratio = raised(ratio, step.exponent)
        mended = beyond.mul_(self._spread(ratio).mul_(quotient).unsqueeze(-1))
        torch.add(parts * step.keep, mended * step.reflect, out=past)
        here.zero_()
        parts.copy_(mended)

    def _sums(self, values: Tensor) -> Tensor:
        return self._bands.sums(values) if self._dense is None else values @ self._dense[0]

    def _spread(self, values: Tensor) -> Tensor:
        return self._bands.spread(values) if self._dense is None else values @ self._dense[1]
