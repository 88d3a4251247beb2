"""Windows that slide over streams, several as one pack: a settled past, and a future to come."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.backends.reference import REFERENCE
from unmel.models.mel.config import MelConfig
from unmel.models.signal.pack_tables import reflect
from unmel.models.signal.packed_stft import Edges, PackedStft
from unmel.models.signal.plan import Plan


class Span(NamedTuple):
    """A window's part of its stream; positions count from its first frame's first sample."""

    settled: int
    """Hops at its beginning whose samples stay as they are; 0 where the stream begins with it."""
    frames: int
    end: int | None
    """Position behind the stream's last sample, or None where the stream goes on."""

    def reach(self, config: MelConfig) -> int:
        """Position behind the last sample that is computed: its frames', or the stream's last."""
        support = (self.frames - 1) * config.hop_length + config.win_length
        if self.end is None or config.padding == "none":  # see `MelConfig.rows`
            return support
        return max(support, self.end)

    def rows(self, config: MelConfig) -> int:
        """Rows of a pack that it takes, its gap included."""
        return max(self.frames + config.overlap - 1, -(-self.reach(config) // config.hop_length))


class Windows(PackedStft):
    """A pack of windows.

    A window's settled samples are put back after every overlap-add, so that all that moves has to
    be consistent with them. Where the stream goes on, the last samples are divided by what there
    is of the windows' envelope: nothing is made up of frames that are not known yet.
    """

    product_rows = 1  # nothing here takes matrix products, and a few rows need no filling up

    def __init__(self, plan: Plan, spans: Sequence[Span], backend: Backend = REFERENCE) -> None:
        self.spans, hop = tuple(spans), plan.config.hop_length
        lead = plan.config.lead
        # As many samples as make the rows that a span takes.
        clips = [(s.frames, max(s.rows(plan.config) * hop - lead, 1)) for s in self.spans]
        super().__init__(plan, clips, backend)
        envelope = plan.squared_window.sum(dim=0)
        self._fade = envelope.reciprocal().repeat(self.rows + self.overlap - 1)
        self.raw = torch.zeros_like(self._signal)
        """Overlap-added frames before they are divided by the envelope, laid out as the signal."""

    def _tables(self, like: PackedStft | None) -> tuple[Edges, dict[str, Tensor]]:
        inverse = np.zeros(self._signal.numel())
        targets, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for span, start in zip(self.spans, self.starts, strict=True):
            own, outside, mirrored = _geometry(self.plan.config, span)
            origin = start * self.hop
            inverse[origin : origin + own.size] = own
            targets.append(origin + outside)
            sources.append(origin + mirrored)
        edges = np.concatenate(targets), np.concatenate(sources)
        return edges, {"envelope": torch.as_tensor(inverse, dtype=self.plan.dtype)}

    def _envelope(self, tables: dict[str, Tensor], like: PackedStft | None) -> Tensor:
        return tables["envelope"]

    def part(self, samples: Tensor, k: int) -> Tensor:
        """The `k`-th window's own part of `samples`, which are laid out as the signal."""
        span, origin = self.spans[k], self.starts[k] * self.hop
        return samples[origin : origin + span.rows(self.plan.config) * self.hop]

    def fade_to_silence(self) -> None:
        """Make `raw` the signal as if all that is to come were silent, which fades out."""
        torch.mul(self.raw, self._fade, out=self._signal)
        self.restore_edges()

    def divide(self) -> None:
        """Make `raw` the signal, divided by what there is of the envelope."""
        torch.mul(self.raw, self.inverse_envelope, out=self._signal)
        self.restore_edges()


@lru_cache(maxsize=256)  # nearly all windows have the same span
def _geometry(
    config: MelConfig, span: Span
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """A window's inverse envelope, and the gather of the stream's edges that lie in it."""
    hop = config.hop_length
    steps = config.squared_window()
    envelope = np.zeros((span.rows(config), hop))
    for r in range(config.overlap):
        envelope[r : r + span.frames] += steps[r]
    reach, least = span.reach(config), config.envelope_floor()
    first = span.settled * hop or config.first
    end = reach if span.end is None else span.end
    inverse = np.zeros(envelope.size)
    inverse[first:end] = 1.0 / np.maximum(envelope.ravel()[first:end], least)
    if not config.reflects:
        return inverse, np.zeros(0, np.int64), np.zeros(0, np.int64)
    outside = np.arange(end, reach)
    mirrored = 2 * (end - 1) - outside
    if not span.settled:
        outside = np.concatenate([np.arange(config.lead), outside])
        mirrored = config.lead + reflect(outside - config.lead, end - config.lead)
    return inverse, outside, mirrored
