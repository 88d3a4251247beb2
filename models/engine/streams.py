"""Streams: frames of a mel in, samples settled one hop after another.

The window of the step for hop `m` begins with the first frame that overlaps hop `m` and ends with
frame `m + lookahead`. The samples before hop `m` are settled; the step settles hop `m` too. Steps
are at hops of the stream, so that the samples do not depend on how the frames were cut.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.backends.base import Backend
from unmel.models.engine.stream_tables import Frame, StreamWindow, WindowState
from unmel.models.engine.stream_warnings import StreamWarnings
from unmel.models.engine.stream_window import Combs, update_windows
from unmel.models.engine.work import Resources, Result
from unmel.models.errors import Invalid, NonFiniteOutput
from unmel.models.mel.config import MelConfig
from unmel.models.mel.scale import LinearScale
from unmel.models.mel.validate import check_mel
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.recipe import (
    DEFAULT_HARMONICS,
    DEFAULT_METHOD,
    Harmonics,
    check_choice,
)
from unmel.models.methods.schedule import COMB, DEFAULT_QUALITY, Quality
from unmel.models.signal.emphasis import deemphasize
from unmel.models.signal.plan import Plan
from unmel.models.signal.targets import frame_levels
from unmel.models.signal.windows import Span

DEFAULT_LOOKAHEAD = 8
MAX_LOOKAHEAD = 64

# Iterations of a step, by quality. A frame goes through them `lookahead + 1` times.
ITERATIONS: dict[Quality, int] = {"draft": 4, "standard": 8, "high": 16}
# Look-ahead up to which there are half as many again: a frame goes through few steps.
_SHORT = 3

# Most iterations of the first step, for which the first sound waits: more of them improve its first
# 50 ms a little (a mel distance of 0.03 instead of 0.04 at high), the clip not (PESQ within 0.02).
_MAX_FIRST_ITERATIONS = 54

# Mels below 2 to this power are not scaled up: what is left of louder frames would overflow.
_FAINTEST = -100

# Combs that a frame goes through, fewer of the whole share where the look-ahead is longer.
_COMBS = 9


@dataclass(frozen=True)
class Options:
    """Options of a stream; streams that differ only in their seed share packs.

    Raises
    ------
    Invalid
        For an unknown choice, and a look-ahead out of bounds.
    """

    quality: Quality = DEFAULT_QUALITY
    lookahead: int = DEFAULT_LOOKAHEAD
    """Frames after a hop's own that are known when it is settled."""
    seed: int = 0
    harmonics: Harmonics = DEFAULT_HARMONICS
    """`auto` for the pitch comb, `off` for none."""

    @property
    def n_iter(self) -> int:
        """Iterations of a step."""
        n_iter = ITERATIONS[self.quality]
        return n_iter if self.lookahead > _SHORT else round(1.5 * n_iter)

    @property
    def combs(self) -> Combs | None:
        """The pitch combs of a step; a frame goes through `lookahead + 1` steps."""
        if self.harmonics == "off":
            return None
        steps = self.lookahead + 1
        every = max(1, round(self.n_iter * steps / _COMBS))
        return Combs(COMB * min(1.0, _COMBS / steps), every)

    def __post_init__(self) -> None:
        if not 1 <= self.lookahead <= MAX_LOOKAHEAD:
            raise Invalid("lookahead", str(self.lookahead), f"1 to {MAX_LOOKAHEAD} frames")
        check_choice("quality", self.quality, ITERATIONS)
        check_choice("harmonics", self.harmonics, get_args(Harmonics))


class Stream:
    """Frames that are not settled yet and the state of the last step; its size is bounded.

    Parameters
    ----------
    plan
        Plan of the stream's config.
    options
        Quality, look-ahead and seed.
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        config = plan.config
        self.plan, self.options = plan, options
        self.warnings: tuple[str, ...] = ()
        """Warnings about the frames so far."""
        self._judged = StreamWarnings(config)
        self.frames = 0
        """Number of frames received."""
        self.samples = 0
        """Number of samples settled."""
        self.ended = False
        """Whether there are no more frames."""
        self.last_sample = 0.0
        """The last sample settled, from which the inverse of a pre-emphasis goes on."""
        self._done = False
        self._loudest = 0.0
        # The next hop to settle; the hops before the first one are the extractor's padding.
        self._hop = config.first // config.hop_length
        self._origin = 0
        self._frames: deque[Frame] = deque()  # from frame `_origin` on
        self._loudest_before: deque[float] = deque(maxlen=config.overlap - 1)
        self._state: WindowState | None = None

    def __repr__(self) -> str:
        state = "done" if self._done else "ended" if self.ended else "open"
        return f"<Stream {self.frames} frames, {self.samples} samples, {state}>"

    @property
    def config(self) -> MelConfig:
        """Config of the frames."""
        return self.plan.config

    def feed(self, frames: NDArray[np.float32]) -> None:
        """Append frames; negative values of a linear scale count as 0.

        Parameters
        ----------
        frames
            The extractor's values `[T, n_mels]`.

        Raises
        ------
        Invalid
            After the end, and if the frames are no mel of the config; none is appended then.
        """
        if self.ended:
            raise Invalid("frames", "frames after the end", "none")
        if frames.ndim == 2 and len(frames) == 0:
            return
        if isinstance(self.config.scale, LinearScale) and self.config.mean == 0.0:
            frames = np.maximum(frames, 0)
        checked = check_mel(self.config, frames, "frames_first")
        # Levels are judged message by message: one warning says it.
        self.warnings = self.warnings or checked.warnings
        self.warnings += self._judged.add(checked.values)
        made = frame_levels(self.plan, torch.tensor(checked.values), self._loudest)
        rows = zip(made.mel.numpy(), made.bound.numpy(), made.loudest, strict=True)
        self._frames.extend(map(Frame._make, rows))
        self._loudest = max(self._loudest, *made.loudest)
        self.frames += len(checked.values)

    def end(self) -> None:
        """Refuse further frames and let the last steps settle the rest."""
        if not self.ended:
            self.warnings += self._judged.end()
        self.ended = True

    @property
    def step(self) -> StreamStep | None:
        """The next step; None where it needs further frames, and after the last one."""
        if self._done or not self.frames:
            return None
        config, lookahead = self.config, self.options.lookahead
        n_iter = self.options.n_iter
        settled = self._hop - self._origin if self._state is not None else 0
        needed = self._hop + 1 + lookahead
        if self.frames >= needed:
            if not settled:  # all its frames are new: they get the iterations of later ones
                n_iter = min(n_iter * (lookahead + 1), _MAX_FIRST_ITERATIONS)
            return StreamStep(self, Span(settled, needed - self._origin, None), n_iter)
        if self.ended:
            end = config.lead + config.samples(self.frames) - self._origin * config.hop_length
            span = Span(settled, self.frames - self._origin, end)
            return StreamStep(self, span, n_iter * (lookahead + 1))
        return None

    def window(self, step: StreamStep) -> StreamWindow:
        """Input of a step of the stream."""
        frames = list(itertools.islice(self._frames, step.frames))
        loudest = max(*(frame.loudest for frame in frames), *self._loudest_before, 0.0)
        power = self.config.power
        # The mel is divided by a power of two, exactly; so is the state where its root is one.
        octave = 2 if power == 2 else 1
        octaves = octave * math.floor(math.log2(loudest) / octave) if loudest > 0.0 else 0
        scale = 2.0 ** max(octaves, math.ceil(_FAINTEST * min(power, 1.0)))
        last = step.span.end is not None
        origin = self._next_origin
        return StreamWindow(
            step.span,
            frames,
            scale,
            scale ** (1.0 / power),
            self.options.seed,
            self._origin,
            self._state,
            step.settled_range,
            dropped=0 if last else origin - self._origin,
            settled=0 if last else self._hop + 1 - origin,
        )

    @property
    def _next_origin(self) -> int:
        """First frame of the next step's window."""
        return max(self._hop + 1 - (self.config.overlap - 1), 0)

    def settle(self, state: WindowState | None, samples: NDArray[np.floating]) -> None:
        """Keep the state for the next step and drop the frames that it does not need.

        Parameters
        ----------
        state
            The state behind the step; None after the last one.
        samples
            Samples that it settled, in double precision where they continue a filter.
        """
        self.samples += len(samples)
        self.last_sample = float(samples[-1]) if len(samples) else self.last_sample
        self._state = state
        if state is None:
            self._done = True
            self._frames.clear()
            return
        dropped = self._next_origin - self._origin
        self._hop += 1
        self._origin += dropped
        for _ in range(dropped):
            self._loudest_before.append(self._frames.popleft().loudest)


@dataclass(frozen=True, eq=False)
class StreamStep:
    """One step of one stream, work for an engine."""

    stream: Stream
    span: Span
    n_iter: int

    @property
    def key(self) -> Hashable:
        """Steps of one key can share a pack."""
        return self.config, self.stream.options.lookahead, self.combs, self.n_iter

    @property
    def combs(self) -> Combs | None:
        """Its pitch combs: none in a stream's first step, for which the first sound waits."""
        first = not self.span.settled and self.span.end is None
        return None if first else self.stream.options.combs

    @property
    def speed_key(self) -> Hashable:
        """Steps of one key are computed at one speed."""
        return self.config.kind, StreamStep

    @property
    def config(self) -> MelConfig:
        """Config of the stream."""
        return self.stream.config

    @property
    def seed(self) -> int:
        """Seed of the stream."""
        return self.stream.options.seed

    @property
    def frames(self) -> int:
        """Frames of the window."""
        return self.span.frames

    @property
    def settled_range(self) -> slice:
        """Samples in the window that the step settles."""
        config, span = self.config, self.span
        first = span.settled * config.hop_length or config.first
        hops = span.settled or config.first // config.hop_length
        return slice(first, (hops + 1) * config.hop_length if span.end is None else span.end)

    @property
    def samples(self) -> int:
        """Number of samples that the step settles."""
        settled, silent = self.settled_range, 0 if self.span.settled else self.config.unreached
        return int(settled.stop - settled.start) + silent

    def finished(self, settled: NDArray[np.float32]) -> NDArray[np.floating]:
        """The stream's next samples, of those of `settled_range`, copied: all filters undone."""
        silent = 0 if self.span.settled else self.config.unreached
        samples = np.zeros(self.samples, np.float32)
        samples[silent : silent + len(settled)] = settled
        coefficient = self.config.preemphasis
        if not coefficient:
            return samples
        return deemphasize(samples, coefficient, self.stream.last_sample)

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that the step settles."""
        return self.samples / self.config.sample_rate

    @property
    def rows(self) -> int:
        """Rows of a pack that the step takes, its gap included."""
        return self.span.rows(self.config)

    @property
    def nbytes(self) -> int:
        """Bytes of a pack that the step takes."""
        # For a bin the momentum and three spectra, for a sample the signal, its sums, envelopes,
        # frames and the comb's band and periods, for a band the target.
        config = self.config
        return 4 * self.rows * (10 * config.n_bins + 14 * config.hop_length + 4 * config.n_mels)

    @property
    def cost(self) -> float:
        """Work in the units of `Item.cost`."""
        work = JOINT[DEFAULT_METHOD].work
        return self.rows * (self.config.n_fft + work.points(self.config, {}, self.n_iter))

    def compute(self, resources: Resources, pack: Sequence[StreamStep]) -> list[Result]:
        """The samples that steps of one key settle, of which this is the first."""
        return [Result(samples) for samples in advance(resources.backend, pack)]


def advance(backend: Backend, steps: Sequence[StreamStep]) -> list[NDArray[np.float32]]:
    """Run steps of one key and update their streams.

    Parameters
    ----------
    backend
        The engine's backend.
    steps
        At most one step of each stream.

    Returns
    -------
    list of NDArray
        The samples that each step settles, full scale at 1.

    Raises
    ------
    NonFiniteOutput
        If a sample is not finite; no stream is changed then.
    """
    windows = [step.stream.window(step) for step in steps]
    first = steps[0]
    updates = update_windows(backend, first.stream.plan, windows, first.n_iter, first.combs)
    made = [step.finished(update.samples) for step, update in zip(steps, updates, strict=True)]
    if not all(np.isfinite(samples).all() for samples in made):
        raise NonFiniteOutput("the stream is not finite")
    for step, update, samples in zip(steps, updates, made, strict=True):
        step.stream.settle(update.state, samples)
    return [samples.astype(np.float32, copy=False) for samples in made]
