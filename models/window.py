"""Windows that slide over streams, several as one pack: a settled past, and a future to come."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import MIN_ENVELOPE, MelConfig
from models.plan import Plan
from models.stft import PackedStft, reflect


class Span(NamedTuple):
    """What a window sees of its stream; positions count from its first frame's first sample."""

    settled: int
    """Hops at its beginning whose samples stay as they are; 0 where the stream begins with it."""
    frames: int
    end: int | None
    """Position behind the stream's last sample, or None where the stream goes on."""

    def reach(self, config: MelConfig) -> int:
        """Position behind the last sample that its frames or the stream's end touch."""
        support = (self.frames - 1) * config.hop_length + config.win_length
        return support if self.end is None else max(support, self.end)

    def rows(self, config: MelConfig) -> int:
        """Rows of a pack that it takes, its gap included."""
        return max(self.frames + config.overlap - 1, -(-self.reach(config) // config.hop_length))


class Windows(PackedStft):
    """A pack of windows.

    A window's settled samples are put back after every overlap-add, so that all that moves has to
    be consistent with them. Where the stream goes on, the last samples are divided by what there
    is of the windows' envelope: nothing is made up of frames that are not known yet.
    """

    def __init__(
        self, plan: Plan, spans: Sequence[Span], kernels: ModuleType | None = None
    ) -> None:
        self.spans, hop = tuple(spans), plan.config.hop_length
        lead = plan.config.lead
        # As many samples as make the rows that a span takes.
        clips = [(s.frames, max(s.rows(plan.config) * hop - lead, 1)) for s in self.spans]
        super().__init__(plan, clips, kernels)
        self._settled: list[tuple[Tensor, Tensor]] = []
        squared = torch.zeros(self.overlap * hop, dtype=plan.dtype, device=plan.device)
        squared[: self.win] = plan.window.square()
        envelope = squared.view(self.overlap, hop).sum(dim=0)
        self._fade = envelope.reciprocal().repeat(self.rows + self.overlap - 1)
        self.raw = torch.zeros_like(self._signal)
        """Overlap-added frames before they are divided by the envelope, laid out as the signal."""

    def _edges(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        config, hop = self.plan.config, self.hop
        squared = np.zeros(self.overlap * hop)
        squared[: self.win] = config.window_values() ** 2
        steps = squared.reshape(self.overlap, hop)
        least = MIN_ENVELOPE * squared.sum() / hop
        inverse = np.zeros(self._signal.numel())
        targets, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for span, start in zip(self.spans, self.starts, strict=True):
            envelope = np.zeros((span.rows(config), hop))
            for r in range(self.overlap):
                envelope[r : r + span.frames] += steps[r]
            reach, origin = span.reach(config), start * hop
            first = span.settled * hop or config.lead
            end = reach if span.end is None else span.end
            inverse[origin + first : origin + end] = 1.0 / np.maximum(
                envelope.ravel()[first:end], least
            )
            if config.padding == "center_constant":
                continue
            outside = np.arange(end, reach)
            mirrored = 2 * (end - 1) - outside
            if not span.settled:
                outside = np.concatenate([np.arange(config.lead), outside])
                mirrored = config.lead + reflect(outside - config.lead, end - config.lead)
            targets.append(origin + outside)
            sources.append(origin + mirrored)
        return inverse, np.concatenate(targets), np.concatenate(sources)

    def part(self, samples: Tensor, k: int) -> Tensor:
        """What of `samples`, laid out as the signal, is the `k`-th window's own."""
        span, origin = self.spans[k], self.starts[k] * self.hop
        return samples[origin : origin + span.rows(self.plan.config) * self.hop]

    def settle(self, pasts: Sequence[Tensor]) -> None:
        """Hold every window's first samples `[settled * hop]` to these."""
        self._settled = [
            (self.part(self._signal, k)[: len(past)], past)
            for k, past in enumerate(pasts)
            if len(past)
        ]

    def mend(self) -> None:
        for place, past in self._settled:
            place.copy_(past)
        super().mend()

    def listen(self) -> None:
        """Make `raw` the signal as if all that is to come were silent, which fades out."""
        torch.mul(self.raw, self._fade, out=self._signal)
        self.mend()

    def divide(self) -> None:
        """Make `raw` the signal, divided by what there is of the envelope."""
        torch.mul(self.raw, self._inverse, out=self._signal)
        self.mend()
