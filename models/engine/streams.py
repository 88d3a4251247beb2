"""A stream of frames, and the step of its window: samples settled one hop after another.

The window of the step for hop `m` begins with the first frame that hop `m` shares samples with
and ends with frame `m + lookahead`. What lies before hop `m` was handed out and stays; the
iteration of `consistent` goes over the rest; then hop `m` is settled, too. Steps stand
at hops of the stream, so the samples do not depend on how the frames came in.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend, StepCoefficients
from unmel.models.backends.reference import square_root_
from unmel.models.engine.work import Resources, Result
from unmel.models.errors import Invalid, NonFiniteOutput
from unmel.models.mel.config import MelConfig
from unmel.models.mel.scale import LinearScale
from unmel.models.mel.validate import check_mel
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.methods.projection import impose
from unmel.models.methods.recipe import DEFAULT_METHOD
from unmel.models.methods.schedule import DEFAULT_QUALITY, Quality
from unmel.models.signal.plan import Plan
from unmel.models.signal.targets import levels
from unmel.models.signal.transfer import download, upload
from unmel.models.signal.windows import Span, Windows

DEFAULT_LOOKAHEAD = 8
MAX_LOOKAHEAD = 64

# Iterations of a step, by quality. A frame goes through them `lookahead + 1` times.
ITERATIONS: dict[Quality, int] = {"draft": 4, "standard": 6, "high": 16}

# The first sound waits for the first step: beyond these its first 50 ms gained a little (a mel
# distance of 0.03 instead of 0.04 at high), the clip nothing (PESQ within 0.02).
_MOST_AT_FIRST = 80

# Share of the circle that the first phases are drawn from, and what they weigh against what the
# frames before say of a new one: -120 dB of a target.
_TURN, _FAINT = 0.35, 1e-6


@dataclass(frozen=True)
class Options:
    """How a stream is to be made: streams of equal options but for the seed share packs."""

    quality: Quality = DEFAULT_QUALITY
    lookahead: int = DEFAULT_LOOKAHEAD
    """Frames after a hop's own that are seen before it is settled."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.lookahead <= MAX_LOOKAHEAD:
            raise Invalid("lookahead", str(self.lookahead), f"1 to {MAX_LOOKAHEAD} frames")
        if self.quality not in ITERATIONS:
            raise Invalid("quality", repr(self.quality)[:80], "one of " + ", ".join(ITERATIONS))


# Of every iteration, found as the qualities' schedules were, on half of sixteen clips and
# checked on the other half; the exponent for powers by trying a few on three presets. Frames
# of all ages are in a window: a schedule by a frame's age gained nothing over these constants.
_MOMENTUM, _REFLECTION, _BLEND = 0.97, 0.38, 0.97
_EXPONENT = {1: 1.50, 2: 1.15}


def _numbers(power: int) -> StepCoefficients:
    return StepCoefficients(
        relaxation=1.0 + _MOMENTUM + _REFLECTION,
        blend=_BLEND,
        rest=1.0 - _BLEND,
        exponent=_EXPONENT[power] / power,
        keep=_MOMENTUM,
        reflect=_REFLECTION,
    )


@dataclass(frozen=True, eq=False)
class _Frame:
    """What is known of a frame, at the client's level; on the host."""

    mel: Tensor
    """Linear `[K]`."""
    bound: Tensor
    """`[K]` bool, as in `Target`."""
    phases: Tensor
    """`e^(i phi)` `[N]` of the seed."""
    loudest: float


class Stream:
    """Frames that came in, and what their next step needs of those before; nothing else, so that
    its size does not grow with the stream.
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        config = plan.config
        self.plan, self.options = plan, options
        self.warnings: tuple[str, ...] = ()
        self.frames = 0
        """Frames that came in."""
        self.samples = 0
        """Samples that were settled."""
        self.ended = False
        self._done = False
        self._generator = torch.Generator().manual_seed(options.seed)
        self._loudest = 0.0
        # The first hop that is settled: those before lie in what the extractor pads.
        self._hop = config.lead // config.hop_length
        self._origin = 0
        self._frames: deque[_Frame] = deque()  # from frame `_origin` on
        self._before: deque[float] = deque(maxlen=config.overlap - 1)
        # Of the last step, divided by `gain`.
        self._gain = 1.0
        empty = torch.zeros(0, dtype=plan.dtype, device=plan.device)
        self._past, self._raw = empty, empty
        self._behind: Tensor | None = None

    def __repr__(self) -> str:
        state = "done" if self._done else "ended" if self.ended else "open"
        return f"<Stream {self.frames} frames, {self.samples} samples, {state}>"

    @property
    def config(self) -> MelConfig:
        return self.plan.config

    def feed(self, frames: NDArray[np.float32]) -> None:
        """Take frames `[k, n_mels]` as the extractor hands them out, or raise Invalid and take
        none of them. Negative values of a linear scale are taken as 0.
        """
        if self.ended:
            raise Invalid("frames", "frames after the end", "none")
        if frames.ndim == 2 and len(frames) == 0:
            return
        if isinstance(self.config.scale, LinearScale) and self.config.mean == 0.0:
            frames = np.maximum(frames, 0)
        checked = check_mel(self.config, frames, "frames_first")
        self.warnings = self.warnings or checked.warnings
        for values in checked.values:
            self._frames.append(self._frame(torch.tensor(values)))
        self.frames += len(checked.values)

    def _frame(self, values: Tensor) -> _Frame:
        # One at a time: a scale's floor may hang on the loudest frame before, and a library's
        # exponential may round differently in arrays of other sizes.
        plan = self.plan
        mel, bound = levels(plan, values[None], self._loudest)
        loudest = float(mel.max())
        self._loudest = max(self._loudest, loudest)
        turns = torch.rand(self.config.n_bins, generator=self._generator)
        angles = (turns * (2.0 * math.pi * _TURN)).to(plan.dtype)
        return _Frame(mel[0], bound[0], torch.polar(torch.ones_like(angles), angles), loudest)

    def end(self) -> None:
        """There are no more frames."""
        self.ended = True

    @property
    def step(self) -> Step | None:
        """The next step, if the frames that it needs are there."""
        config, seen = self.config, self._hop + 1 + self.options.lookahead
        passes = self.options.lookahead + 1
        n_iter = ITERATIONS[self.options.quality]
        if self._done or not self.frames:
            return None
        settled = self._hop - self._origin if self._behind is not None else 0
        if self.frames >= seen:
            span = Span(settled, seen - self._origin, None)
            # The first frames come all at once and go through what the others do in turn.
            return Step(self, span, n_iter if settled else min(n_iter * passes, _MOST_AT_FIRST))
        if self.ended:
            end = config.lead + config.samples(self.frames) - self._origin * config.hop_length
            span = Span(settled, self.frames - self._origin, end)
            return Step(self, span, n_iter * passes)
        return None

    # --- for the step ---------------------------------------------------------------------

    def gain(self, frames: int) -> float:
        """Power of two by which samples are divided in a window of `frames` frames: the level of
        its loudest band, those of the frames that reach into its past included.
        """
        here = (frame.loudest for frame in itertools.islice(self._frames, frames))
        loudest = max(*here, *self._before, 0.0)
        if loudest <= 0.0:
            return 1.0
        return 2.0 ** math.floor(math.log2(loudest) / self.config.power)

    def rows(self, frames: int, gain: float) -> tuple[Tensor, Tensor]:
        """The window's target `[frames, K]` and where it is a bound."""
        rows = list(itertools.islice(self._frames, frames))
        mel = torch.stack([frame.mel for frame in rows]).mul_(gain**-self.config.power)
        return mel, torch.stack([frame.bound for frame in rows])

    def phases(self, first: int, frames: int) -> Tensor:
        """`e^(i phi)` `[frames - first, N]` of the window's frames from `first` on."""
        return torch.stack([f.phases for f in itertools.islice(self._frames, first, frames)])

    def state(self, gain: float) -> tuple[Tensor, Tensor, Tensor | None]:
        """Settled samples, sums of the frames after them, and what the iteration remembers of
        each frame, divided by `gain`: exact, for gains are powers of two.
        """
        factor = self._gain / gain
        if factor == 1.0 or self._behind is None:
            return self._past, self._raw, self._behind
        return self._past * factor, self._raw * factor, self._behind * factor

    def settle(self, signal: Tensor, raw: Tensor, behind: Tensor, gain: float, end: bool) -> None:
        """The step is done: keep what the next one needs, let go of the rest."""
        config = self.config
        if end:
            self._done = True
            self._frames.clear()
            self._past = self._raw = signal[:0].clone()
            self._behind = None
            return
        origin, self._hop = self._origin, self._hop + 1
        self._origin = max(self._hop - (config.overlap - 1), 0)
        dropped, known = self._origin - origin, (self._hop - origin) * config.hop_length
        for _ in range(dropped):
            self._before.append(self._frames.popleft().loudest)
        self._past = signal[dropped * config.hop_length : known].clone()
        self._raw, self._behind, self._gain = raw[known:].clone(), behind[dropped:].clone(), gain


@dataclass(frozen=True, eq=False)
class Step:
    """One step of one stream: its window, and how long it is worked on."""

    stream: Stream
    span: Span
    n_iter: int

    @property
    def key(self) -> Hashable:
        """Steps of one key can share a pack."""
        return self.config, self.stream.options.lookahead, self.n_iter

    @property
    def speed_key(self) -> Hashable:
        """Steps of one key are computed at one speed."""
        return self.config, Step

    @property
    def config(self) -> MelConfig:
        return self.stream.config

    @property
    def seed(self) -> int:
        return self.stream.options.seed

    @property
    def frames(self) -> int:
        return self.span.frames

    @property
    def settles(self) -> tuple[int, int]:
        """The positions in its window that it settles, first and end."""
        config, span = self.config, self.span
        first = span.settled * config.hop_length or config.lead
        if span.end is not None:
            return first, span.end
        hops = span.settled or config.lead // config.hop_length
        return first, (hops + 1) * config.hop_length

    @property
    def samples(self) -> int:
        """Samples that it settles."""
        first, end = self.settles
        return end - first

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that it settles."""
        return self.samples / self.config.sample_rate

    @property
    def rows(self) -> int:
        """Rows of a pack that the step takes, its gap included."""
        return self.span.rows(self.config)

    @property
    def nbytes(self) -> int:
        """Bytes of a pack that the step takes: of a bin what is remembered and three spectra, of
        a sample the signal, its sums, two envelopes and frames, of a band the target.
        """
        config = self.config
        return 4 * self.rows * (10 * config.n_bins + 8 * config.hop_length + 4 * config.n_mels)

    @property
    def cost(self) -> float:
        """Work in the units of `Item.cost`."""
        work = JOINT[DEFAULT_METHOD].work
        return self.rows * (self.config.n_fft + work.points(self.config, {}, self.n_iter))

    def compute(self, resources: Resources, pack: Sequence[Step]) -> list[Result]:
        """The samples that steps of one key settle, of which it is the first."""
        return [Result(samples) for samples in advance(resources.backend, pack)]


def advance(backend: Backend, steps: Sequence[Step]) -> list[NDArray[np.float32]]:
    """The samples that steps of one key settle, full scale at 1.

    Nothing has happened to any stream if NonFiniteOutput is raised.
    """
    streams = [step.stream for step in steps]
    plan, n_iter = streams[0].plan, steps[0].n_iter
    config = plan.config
    windows = Windows(plan, [step.span for step in steps], backend)
    gains = [step.stream.gain(step.span.frames) for step in steps]
    states = [stream.state(gain) for stream, gain in zip(streams, gains, strict=True)]
    rows = [s.stream.rows(s.span.frames, gain) for s, gain in zip(steps, gains, strict=True)]
    mel, bound = (windows.spread_rows(parts) for parts in zip(*rows, strict=True))
    iteration = MelIteration(windows, backend.mel_target(mel, bound))
    for k, (_, raw, behind) in enumerate(states):
        windows.part(windows.raw, k)[steps[k].span.settled * config.hop_length :][: len(raw)] = raw
        if behind is not None:
            iteration.state.momentum[windows.starts[k] :][: len(behind)] = behind
    windows.pin([past for past, _, _ in states])
    numbers = _numbers(config.power)
    known = [0 if behind is None else len(behind) for _, _, behind in states]
    _enter(windows, iteration, steps, known, mel.masked_fill(bound, 0.0), numbers)
    windows.divide()
    iteration.run((numbers,) * (n_iter - 1))
    iteration.run_once_into(windows.raw, numbers)
    windows.divide()
    found = [windows.part(windows.signal, k) for k in range(len(steps))]
    settled = [
        samples.to(torch.float32).numpy()
        for samples in download(
            [
                wave[slice(*step.settles)] * gain
                for step, wave, gain in zip(steps, found, gains, strict=True)
            ]
        )
    ]
    if not all(np.isfinite(samples).all() for samples in settled):
        raise NonFiniteOutput("the stream is not finite")
    for k, step in enumerate(steps):
        first = windows.starts[k]
        step.stream.settle(
            found[k],
            windows.part(windows.raw, k),
            iteration.state.momentum[first : first + step.span.frames],
            gains[k],
            step.span.end is not None,
        )
        step.stream.samples += len(settled[k])
    return settled


def _enter(
    windows: Windows,
    iteration: MelIteration,
    steps: Sequence[Step],
    known: Sequence[int],
    heard: Tensor,
    numbers: StepCoefficients,
) -> None:
    """Begin the frames that no step has seen: the phases that the frames before give them, those
    of the seed where these are silent, as in real-time iterative spectrogram inversion.
    """
    plan = windows.plan
    bands = plan.bands
    windows.fade_to_silence()
    entering = [
        (step, start, old)
        for step, start, old in zip(steps, windows.starts, known, strict=True)
        if old < step.span.frames
    ]
    drawn = upload(
        [step.stream.phases(old, step.span.frames) for step, _, old in entering], plan.device
    )
    for (step, start, old), turns in zip(entering, drawn, strict=True):
        first, last = start + old, start + step.span.frames
        given = windows.spectrum(slice(first, last))
        level = bands.spread(heard[first:last] / plan.band_weight)
        magnitude = torch.zeros_like(given.real)
        magnitude[:, bands.inside] = level if plan.config.power == 1 else square_root_(level)
        begun = impose(magnitude, given + turns * _FAINT)
        # As if the step before had found the same.
        iteration.state.momentum[first:last] = begun[:, bands.inside] * (
            numbers.keep + numbers.reflect
        )
        frames = torch.fft.irfft(begun, n=plan.config.n_fft)[:, : windows.win] * plan.window
        for j, frame in enumerate(frames, start=first):
            windows.raw[j * windows.hop :][: windows.win] += frame
