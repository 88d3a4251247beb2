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
from unmel.models.engine.stream_tables import (
    StreamWindow,
    Tables,
    WindowState,
    cut,
    make_tables,
)
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.methods.joint.pitch_comb import find_comb
from unmel.models.methods.projection import impose
from unmel.models.methods.schedule import Ramp, between_powers
from unmel.models.methods.start.random_phases import step_of
from unmel.models.methods.start.starts import polar
from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import received
from unmel.models.signal.windows import Windows

# Weight of the seed's phases against those of the frames before: -120 dB of a target; and the
# share of the circle that they are drawn from.
_FAINT, _TURN = 1e-6, 0.45

# Coefficients of every iteration, found as the qualities' schedules were, on half of sixteen clips
# and checked on the other half; the reflection again with the pitch comb, the exponent for powers
# by trying a few. Frames of all ages are in a window: coefficients by age gained nothing.
_MOMENTUM, _REFLECTION, _BLEND = 0.97, 0.25, 0.97
_EXPONENT = Ramp(1.50, 1.15)  # from power 1 to 2, below 1 as at 1


class Combs(NamedTuple):
    """Pitch combs of a step."""

    share: float
    every: int
    """Iterations from one to the next."""


@dataclass(frozen=True, eq=False)
class Update:
    """Result of one window's step."""

    samples: NDArray[np.float32]
    """Samples that were settled, on the host, in memory that the next pack may need."""
    state: WindowState | None
    """For the next step; None behind the last one."""


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
    pack = Windows(plan, [window.span for window in windows], backend)
    tables = make_tables(pack, windows)
    mel = tables.mel * tables.level.unsqueeze(1)
    iteration = MelIteration(pack, backend.mel_target(mel, tables.bound))
    momentum = iteration.state.momentum
    _resume(pack, momentum, tables, windows)
    coefficients = _coefficients(plan.config.power)
    audible = mel.masked_fill(tables.bound, 0.0)
    if len(tables.keys):
        _enter(pack, momentum, tables, audible, coefficients)
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
    given = pack.hops(pack.signal).index_select(0, tables.given) * tables.gain.unsqueeze(1)
    next_states = _states(pack, momentum, tables, windows)
    # The host waits here for all of the step: any lane may go on with the new states, and the old
    # ones have been read.
    [found] = received([given])
    return [
        Update(part, state)
        for part, state in zip(
            cut(found.to(torch.float32).numpy(), pack, windows), next_states, strict=True
        )
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


def _resume(
    pack: Windows, momentum: Tensor, tables: Tables, windows: Sequence[StreamWindow]
) -> None:
    """Put the last steps' states into the pack, in place."""
    states = [window.state for window in windows if window.state is not None]
    if not states:
        return
    samples = torch.cat([state.samples for state in states])
    remembered = torch.cat([state.momentum for state in states])
    if any(w.state is not None and w.state.gain != w.gain for w in windows):
        samples *= tables.louder_hops.unsqueeze(1)
        remembered *= tables.louder_frames.view(-1, 1, 1)
    pack.hops(pack.raw).index_copy_(0, tables.hops, samples)
    torch.view_as_real(momentum).index_copy_(0, tables.frames, remembered)
    pack.pin_settled()


def _enter(
    pack: Windows,
    momentum: Tensor,
    tables: Tables,
    mel: Tensor,
    coefficients: StepCoefficients,
) -> None:
    """Begin the frames without momentum, in place.

    Their phases are those of the overlapping signal, or the seed's where it is silent, as in
    real-time iterative spectrogram inversion.
    """
    plan, rows = pack.plan, tables.entering
    bands = plan.bands
    pack.fade_to_silence()
    phases = torch.empty(len(rows), plan.config.n_bins, dtype=plan.dtype, device=plan.device)
    pack.backend.draw(tables.keys, step_of(_TURN), phases)
    of_seed = polar(pack, torch.full_like(phases, _FAINT), phases)
    overlapping = pack.spectrum_at(rows)
    level = bands.spread(mel.index_select(0, rows) / plan.band_weight)
    magnitude = torch.zeros_like(phases)
    magnitude[:, bands.inside] = root_(level, plan.config.power)
    spectrum = impose(magnitude, overlapping + of_seed)
    # The momentum as if the step before had given the same spectrum.
    begun = spectrum[:, bands.inside] * (coefficients.keep + coefficients.reflect)
    momentum.index_copy_(0, rows, begun)
    frames = torch.fft.irfft(spectrum, n=plan.config.n_fft)[:, : pack.win] * plan.window
    pack.add_at(rows, frames, apart=tables.apart)


def _states(
    pack: Windows, momentum: Tensor, tables: Tables, windows: Sequence[StreamWindow]
) -> list[WindowState | None]:
    """The next step's states; `raw` gets the settled hops."""
    hops = pack.hops(pack.raw)
    settled = pack.hops(pack.signal).index_select(0, tables.settled)
    hops.index_copy_(0, tables.settled, settled)
    going = [
        (window, start, rows)
        for window, (start, _, rows) in zip(windows, pack.extents, strict=True)
        if window.span.end is None
    ]
    samples = _copies(hops, [(start + w.dropped, start + rows) for w, start, rows in going])
    kept = [(start + w.dropped, start + w.span.frames) for w, start, _ in going]
    remembered = _copies(torch.view_as_real(momentum), kept)
    made = {
        id(window): WindowState(
            own, memory, rows - window.dropped, window.span.frames - window.dropped, window.gain
        )
        for (window, _, rows), own, memory in zip(going, samples, remembered, strict=True)
    }
    return [made.get(id(window)) for window in windows]


def _copies(rows: Tensor, places: Sequence[tuple[int, int]]) -> Sequence[Tensor]:
    """Copies of parts of a tensor's rows, from the first to the last, each in its own memory."""
    if not places:
        return []
    sizes, at = [], 0
    for first, end in places:
        sizes += [first - at, end - first]
        at = end
    parts = torch.split_with_sizes(rows, [*sizes, len(rows) - at])[1::2]
    return torch._foreach_mul(parts, 1.0)  # a launch for some sixty of them
