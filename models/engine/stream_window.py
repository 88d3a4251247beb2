"""One step of streams' windows: from the last step's state to the next, several windows as a pack.

A window's settled samples stay; the iteration of `consistent` runs over the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend, StepCoefficients
from unmel.models.backends.reference import root_
from unmel.models.engine.turn import hold
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.methods.joint.pitch_comb import find_comb
from unmel.models.methods.projection import impose
from unmel.models.methods.schedule import Ramp, between_powers
from unmel.models.methods.start.random_phases import step_of
from unmel.models.methods.start.starts import polar
from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import upload
from unmel.models.signal.windows import Span, Windows

# Weight of the seed's phases against those of the frames before: -120 dB of a target; and the
# share of the circle that they are drawn from.
_FAINT, _TURN = 1e-6, 0.45

# Coefficients of every iteration, found as the qualities' schedules were, on half of sixteen clips
# and checked on the other half; the reflection again with the pitch comb, the exponent for powers
# by trying a few. Frames of all ages are in a window: coefficients by age gained nothing.
_MOMENTUM, _REFLECTION, _BLEND = 0.97, 0.25, 0.97
_EXPONENT = Ramp(1.50, 1.15)  # from power 1 to 2, below 1 as at 1


@dataclass(frozen=True, eq=False)
class WindowState:
    """State of a window between two steps, on the plan's device."""

    settled: Tensor
    """Settled samples from the window's beginning."""
    sums: Tensor
    """Overlap-added frames behind them, before the division by the envelope."""
    momentum: Tensor | None
    """The iteration's state of the frames of the last step `[T, W]`; None before the first."""
    gain: float = 1.0
    """Divisor of all of them."""

    def divided_by(self, gain: float) -> WindowState:
        """The same state with another gain, exact for powers of two."""
        factor = self.gain / gain
        if factor == 1.0 or self.momentum is None:
            return WindowState(self.settled, self.sums, self.momentum, gain)
        return WindowState(self.settled * factor, self.sums * factor, self.momentum * factor, gain)


class Combs(NamedTuple):
    """Pitch combs of a step."""

    share: float
    every: int
    """Iterations from one to the next."""


@dataclass(frozen=True, eq=False)
class StreamWindow:
    """Input of one window's step; magnitudes are divided by the state's gain."""

    span: Span
    mel: Tensor
    """Linear mel `[T, K]` on the host."""
    bound: Tensor
    """Bool `[T, K]`, as in `Target`."""
    keys: NDArray[np.int32]
    """`[E, 2]`: keys of the seed's phases of the last frames, those without momentum."""
    state: WindowState


@dataclass(frozen=True, eq=False)
class Update:
    """Result of one window's step, of the whole window."""

    signal: Tensor
    sums: Tensor
    momentum: Tensor


def update_windows(
    backend: Backend,
    plan: Plan,
    windows: Sequence[StreamWindow],
    n_iter: int,
    comb: Combs | None = None,
) -> list[Update]:
    """Run a step of several windows as one pack.

    Parameters
    ----------
    backend
        The engine's backend.
    plan
        Plan of the windows' config.
    windows
        One window of each stream; none is changed.
    n_iter
        Iterations of the step.
    comb
        The pitch combs between them; none by default.
    """
    hop = plan.config.hop_length
    pack = Windows(plan, [window.span for window in windows], backend)
    mel = pack.spread_rows([window.mel for window in windows])
    bound = pack.spread_rows([window.bound for window in windows])
    iteration = MelIteration(pack, backend.mel_target(mel, bound))
    momentum = iteration.state.momentum
    for k, window in enumerate(windows):
        state = window.state
        hold(state.settled, state.sums, state.momentum)
        sums = pack.part(pack.raw, k)[window.span.settled * hop :]
        sums[: len(state.sums)] = state.sums
        if state.momentum is not None:
            momentum[pack.starts[k] :][: len(state.momentum)] = state.momentum
    pack.pin([window.state.settled for window in windows])
    coefficients = _coefficients(plan.config.power)
    audible = mel.masked_fill(bound, 0.0)
    _enter(pack, momentum, windows, audible, coefficients)
    pack.divide()
    steps = (coefficients,) * (n_iter - 1)
    if comb:
        voice = find_comb(pack, plan, audible)
        for k in range(0, len(steps), comb.every):
            voice.mix(pack, comb.share)
            iteration.run(steps[k : k + comb.every])
    else:
        iteration.run(steps)
    iteration.run_once_into(pack.raw, coefficients)
    pack.divide()
    return [
        Update(
            pack.part(pack.signal, k),
            pack.part(pack.raw, k),
            momentum[start : start + window.span.frames],
        )
        for k, (window, start) in enumerate(zip(windows, pack.starts, strict=True))
    ]


def _coefficients(power: float) -> StepCoefficients:
    return StepCoefficients(
        relaxation=1.0 + _MOMENTUM + _REFLECTION,
        blend=_BLEND,
        rest=1.0 - _BLEND,
        exponent=_EXPONENT.part(between_powers(power), 1.0).first / power,
        keep=_MOMENTUM,
        reflect=_REFLECTION,
    )


def _enter(
    pack: Windows,
    momentum: Tensor,
    windows: Sequence[StreamWindow],
    mel: Tensor,
    coefficients: StepCoefficients,
) -> None:
    """Begin the frames without momentum, in place.

    Their phases are those of the overlapping signal, or the seed's where it is silent, as in
    real-time iterative spectrogram inversion.
    """
    plan = pack.plan
    bands = plan.bands
    pack.fade_to_silence()
    keys = [window.keys for window in windows]
    [uploaded] = upload([torch.from_numpy(np.concatenate(keys))], plan.device)
    phases = torch.empty(len(uploaded), plan.config.n_bins, dtype=plan.dtype, device=plan.device)
    pack.backend.draw(uploaded, step_of(_TURN), phases)
    drawn = polar(pack, torch.full_like(phases, _FAINT), phases)
    faint = torch.split(drawn, [len(key) for key in keys])
    for window, start, of_seed in zip(windows, pack.starts, faint, strict=True):
        end = start + window.span.frames
        first = end - len(of_seed)
        if first == end:
            continue
        overlapping = pack.spectrum(slice(first, end))
        level = bands.spread(mel[first:end] / plan.band_weight)
        magnitude = torch.zeros_like(overlapping.real)
        magnitude[:, bands.inside] = root_(level, plan.config.power)
        spectrum = impose(magnitude, overlapping + of_seed)
        # The momentum as if the step before had given the same spectrum.
        momentum[first:end] = spectrum[:, bands.inside] * (coefficients.keep + coefficients.reflect)
        frames = torch.fft.irfft(spectrum, n=plan.config.n_fft)[:, : pack.win] * plan.window
        for j, frame in enumerate(frames, start=first):
            pack.raw[j * pack.hop :][: pack.win] += frame
