"""One step of streams' windows: from the last step's state to the next, several windows as a pack.

A window's settled samples stay; the iteration of `consistent` runs over the rest. A step has as
many operations on the device for any number of windows: what belongs to a window is placed in the
pack's rows by tables that the host makes of all windows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from unmel.models.methods.start.random_phases import keys_of, step_of
from unmel.models.methods.start.starts import polar
from unmel.models.signal.pack_tables import ranges
from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import received, upload
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
    """State of a window between two steps, on the plan's device, in memory of its own.

    A part of a pack's tensors would do as well, and keep those of all its windows until every one
    of their streams has gone on.
    """

    samples: Tensor
    """Settled hops, and behind them overlap-added frames not yet divided by the envelope
    `[hops, hop_length]`."""
    momentum: Tensor
    """The iteration's state of the frames of the last step `[T, W, 2]`."""
    hops: int
    frames: int
    gain: float
    """Divisor of all of them."""


class Combs(NamedTuple):
    """Pitch combs of a step."""

    share: float
    every: int
    """Iterations from one to the next."""


class Frame(NamedTuple):
    """A frame at the client's level, on the host."""

    mel: NDArray[np.floating]
    """Linear mel `[K]`."""
    bound: NDArray[np.bool_]
    """`[K]`, as in `Target`."""
    loudest: float


@dataclass(frozen=True, eq=False)
class StreamWindow:
    """Input of one window's step."""

    span: Span
    frames: Sequence[Frame]
    scale: float
    """Divisor of the frames in this step, a power of two."""
    gain: float
    """Divisor of the samples in this step."""
    seed: int
    origin: int
    """Number of the first frame in the stream."""
    state: WindowState | None
    """None before the first step."""
    given: slice
    """Samples of the window that the step settles."""
    dropped: int
    """Hops and frames at its beginning that the next window does not have."""
    settled: int
    """Hops behind them that the next window holds; none where there is no next one."""


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
    tables = _tables(pack, windows)
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
    # The host waits here for all of the step, so that any lane may go on with the states.
    [found] = received([given])
    return [
        Update(part, state)
        for part, state in zip(
            _cut(found.to(torch.float32).numpy(), pack, windows), next_states, strict=True
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


class _Tables(NamedTuple):
    """What the host knows of a step, sent to the device; rows are the pack's."""

    apart: bool
    """Whether at most one frame enters each window."""
    mel: Tensor
    """`[rows, K]` at the client's level, zero between the windows."""
    bound: Tensor
    """Bool `[rows, K]`."""
    keys: Tensor
    """`[E, 2]`: keys of the seed's phases of the frames that enter, those without momentum."""
    hops: Tensor
    """Rows of the last states' hops, window after window."""
    frames: Tensor
    """Rows of their frames."""
    entering: Tensor
    """Rows of the frames that enter `[E]`."""
    settled: Tensor
    """Rows of the hops that the next windows hold."""
    given: Tensor
    """Rows that hold the samples to give."""
    level: Tensor
    """Factor of each row's mel `[rows]`."""
    louder_hops: Tensor
    """Factor of each of the last states' hops, for their new gain."""
    louder_frames: Tensor
    """Of each of their frames."""
    gain: Tensor
    """Factor of each row of `given`."""


def _tables(pack: Windows, windows: Sequence[StreamWindow]) -> _Tables:
    found, factors, gaps, keyed = [], [], [], []
    for window, (start, frames, rows) in zip(windows, pack.extents, strict=True):
        state = window.state
        hops, known, gain = (state.hops, state.frames, state.gain) if state else (0, 0, 1.0)
        first, count = _given_rows(pack, window, rows)
        # First rows and numbers of rows, in the order of `_Tables`.
        firsts = start, start, start + known, start + window.dropped, start + first
        found.append((*firsts, hops, known, frames - known, window.settled, count, rows))
        louder = gain / window.gain
        factors.append((1.0 / window.scale, louder, louder, window.gain))
        gaps.append(rows - frames)
        keyed.append(range(window.origin + known, window.origin + frames))
    numbers = np.array(found).T
    lengths = numbers[5:10]
    places = ranges(numbers[:5].ravel(), lengths.ravel())
    repeats = numbers[[10, 5, 6, 9]]
    mel, bound = _laid_out(windows, gaps)
    tables = [
        mel,
        bound,
        keys_of([window.seed for window in windows], keyed),
        places,
        np.repeat(np.array(factors, mel.dtype).T.ravel(), repeats.ravel()),
    ]
    sent = upload([torch.from_numpy(table) for table in tables], pack.plan.device)
    return _Tables(
        bool((lengths[2] <= 1).all()),
        *sent[:3],
        *torch.split_with_sizes(sent[3], lengths.sum(axis=1).tolist()),
        *torch.split_with_sizes(sent[4], repeats.sum(axis=1).tolist()),
    )


def _laid_out(
    windows: Sequence[StreamWindow], gaps: Sequence[int]
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Mel and bound `[rows, K]` of a pack's rows, zero in the gaps behind the windows."""
    mel: list[NDArray[np.floating]] = []
    bound: list[NDArray[np.bool_]] = []
    none = windows[0].frames[0]
    silent, free = np.zeros_like(none.mel), np.zeros_like(none.bound)
    for window, gap in zip(windows, gaps, strict=True):
        mel += [frame.mel for frame in window.frames] + [silent] * gap
        bound += [frame.bound for frame in window.frames] + [free] * gap
    return (
        np.concatenate(mel).reshape(-1, len(silent)),
        np.concatenate(bound).reshape(-1, len(free)),
    )


def _given_rows(pack: Windows, window: StreamWindow, rows: int) -> tuple[int, int]:
    """First of a window's rows that hold the samples to give, and their number."""
    given = window.given
    first, end = given.start // pack.hop, min(-(-given.stop // pack.hop), rows)
    return first, max(end - first, 0)


def _cut(
    found: NDArray[np.float32], pack: Windows, windows: Sequence[StreamWindow]
) -> Iterator[NDArray[np.float32]]:
    """Each window's samples of the rows `[R, hop]` that were given."""
    at = 0
    for window, (_, _, rows) in zip(windows, pack.extents, strict=True):
        first, count = _given_rows(pack, window, rows)
        own = found[at : at + count].reshape(-1)
        before = first * pack.hop
        yield own[window.given.start - before : window.given.stop - before]
        at += count


def _resume(
    pack: Windows, momentum: Tensor, tables: _Tables, windows: Sequence[StreamWindow]
) -> None:
    """Put the last steps' states into the pack, in place."""
    states = [window.state for window in windows if window.state is not None]
    if not states:
        return
    hold(pack.plan.device, (t for state in states for t in (state.samples, state.momentum)))
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
    tables: _Tables,
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
    pack: Windows, momentum: Tensor, tables: _Tables, windows: Sequence[StreamWindow]
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
