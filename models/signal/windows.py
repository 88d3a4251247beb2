"""Windows that slide over streams, several as one pack: a settled past, and a future to come.

Tables are made of all windows at once, a few rows for each different span: the device spreads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.backends.reference import REFERENCE
from unmel.models.mel.config import MelConfig
from unmel.models.signal.pack_tables import envelope_hops, ranges, reflect
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


@dataclass(frozen=True, eq=False)
class _Apart:
    """Frames one behind the other, without overlap, as a backend takes a pack's."""

    signal: Tensor
    window: Tensor
    n_fft: int

    @property
    def hop(self) -> int:
        """Samples from one to the next."""
        return len(self.window)


class Windows(PackedStft):
    """A pack of windows.

    A window's settled samples are put back after every overlap-add, so that all that moves has to
    be consistent with them. Where the stream goes on, the last samples are divided by what there
    is of the windows' envelope: nothing is made up of frames that are not known yet.
    """

    product_rows = 1  # nothing here takes matrix products, and a few rows need no filling up

    def __init__(self, plan: Plan, spans: Sequence[Span], backend: Backend = REFERENCE) -> None:
        self.spans, config = tuple(spans), plan.config
        # Nearly all windows have the same span.
        shapes = {span: _shape(config, span) for span in dict.fromkeys(spans)}
        self._shapes = [shapes[span] for span in spans]
        super().__init__(plan, [(span.frames, shapes[span].samples) for span in spans], backend)
        self.raw = torch.zeros_like(self._signal)
        """Overlap-added frames before they are divided by the envelope, laid out as the signal."""

    def _tables(self, like: PackedStft | None) -> tuple[Edges, dict[str, Tensor]]:
        hop = self.hop
        different = list(dict.fromkeys(self._shapes))
        # A row of zeros, then the hops of each shape.
        hops = [np.zeros((1, hop)), *(shape.inverse for shape in different)]
        begins = dict(zip(different, np.cumsum([len(part) for part in hops]), strict=False))
        firsts = [begins[shape] for shape in self._shapes] + self.starts
        lengths = [rows for _, _, rows in self.extents] + [span.settled for span in self.spans]
        places = ranges(np.array(firsts), np.array(lengths))
        # Behind the windows there is nothing, in the row of zeros.
        index = np.zeros(self.rows + self.overlap - 1, np.int64)
        index[: self.used] = places[: self.used]
        targets, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for shape in different:
            if shape.outside.size:
                alike = [other is shape for other in self._shapes]
                origins = np.array(self.starts)[alike, None] * hop
                targets.append((origins + shape.outside).ravel())
                sources.append((origins + shape.mirrored).ravel())
        tables = {
            "inverse": torch.as_tensor(np.concatenate(hops), dtype=self.plan.dtype),
            "hops": torch.from_numpy(index),
            "held": torch.from_numpy(places[self.used :]),
        }
        return (np.concatenate(targets), np.concatenate(sources)), tables

    def _envelope(self, tables: dict[str, Tensor], like: PackedStft | None) -> Tensor:
        self._held = tables["held"]
        return tables["inverse"].index_select(0, tables["hops"]).view(-1)

    def hops(self, samples: Tensor) -> Tensor:
        """The rows `[rows + overlap - 1, hop]` of `samples`, which are laid out as the signal."""
        return samples.view(-1, self.hop)

    def pin_settled(self) -> None:
        """Hold the windows' settled hops to what `raw` has there; they are no edge."""
        if any(span.settled for span in self.spans):
            within = torch.arange(self.hop, device=self._held.device)
            places = (self._held * self.hop).unsqueeze(1) + within
            values = self.hops(self.raw).index_select(0, self._held)
            self.pins = places.view(-1), values.view(-1)

    def fade_to_silence(self) -> None:
        """Make `raw` the signal as if all that is to come were silent, which fades out."""
        fade = self.plan.squared_window.sum(dim=0).reciprocal()
        torch.mul(self.hops(self.raw), fade, out=self.hops(self._signal))
        self.restore_edges()

    def divide(self) -> None:
        """Make `raw` the signal, divided by what there is of the envelope."""
        torch.mul(self.raw, self.inverse_envelope, out=self._signal)
        self.restore_edges()

    def spectrum_at(self, rows: Tensor) -> Tensor:
        """STFT `[E, N]` of the present signal at some rows `[E]`."""
        frames = self._signal.as_strided((self.rows, self.win), (self.hop, 1))
        apart = _Apart(frames.index_select(0, rows).view(-1), self.window, self.n_fft)
        return self.backend.spectrum(apart, slice(0, len(rows)))

    def add_at(self, rows: Tensor, frames: Tensor, *, apart: bool) -> None:
        """Add windowed frames `[E, win]` to `raw`, the earliest first.

        Parameters
        ----------
        rows
            Different rows of the pack `[E]`.
        frames
            The frames `[E, win]`.
        apart
            Whether no two of them share a sample, as those of different windows do not.
        """
        # Nothing is added twice in one operation, so that no sum depends on an order.
        if apart:
            shape, steps = (self.rows, self.win), (self.hop, 1)
            self.raw.as_strided(shape, steps).index_add_(0, rows, frames)
            return
        hops = self.hops(self.raw)
        for r in range(self.overlap - 1, -1, -1):
            part = frames[:, r * self.hop : (r + 1) * self.hop]
            hops[:, : part.shape[1]].index_add_(0, rows + r, part)


@dataclass(frozen=True, eq=False)
class _Shape:
    """What windows of one span have in common."""

    samples: int
    """As many as make the rows that it takes."""
    inverse: NDArray[np.float64]
    """Inverse envelope `[rows, hop]`, zero where there is no signal."""
    outside: NDArray[np.int64]
    """Places of the stream's edges that lie in the window."""
    mirrored: NDArray[np.int64]
    """Those that the extractor's padding repeats there."""


@lru_cache(maxsize=256)
def _shape(config: MelConfig, span: Span) -> _Shape:
    hop = config.hop_length
    samples = max(span.rows(config) * hop - config.lead, 1)
    hops = envelope_hops(config, span.frames, config.rows(span.frames, samples))
    reach = span.reach(config)
    first = span.settled * hop or config.first
    end = reach if span.end is None else span.end
    inverse = np.zeros(hops.size)
    inverse[first:end] = hops.ravel()[first:end]
    outside, mirrored = np.zeros((2, 0), np.int64)
    if config.reflects:
        outside = np.arange(end, reach)
        mirrored = 2 * (end - 1) - outside
        if not span.settled:
            outside = np.concatenate([np.arange(config.lead), outside])
            mirrored = config.lead + reflect(outside - config.lead, end - config.lead)
    return _Shape(samples, inverse.reshape(hops.shape), outside, mirrored)
