"""Packed STFT: many clips as one long array of frames, without padding to a common length.

Clips stand one after the other with `overlap - 1` empty rows between them, where `overlap` is
the number of frames that share a sample, so that overlap-add never mixes two clips. Frames and
overlap-add touch the window's support alone; index 0 of a frame is the window's first sample.
Each clip's edges are restored after every overlap-add by one precomputed gather, which repeats
what its extractor's padding does. On a CPU the rows are worked through in blocks, which stay in
the cache; where a matrix product is taken they are of one fixed size, with which a row has the
same bits wherever in the pack it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.backends.reference import REFERENCE
from unmel.models.mel.config import MelConfig
from unmel.models.signal.pack_tables import (
    Extent,
    beyond,
    edge_gather,
    extents,
    hop_index,
    short_hops,
)
from unmel.models.signal.plan import Plan
from unmel.models.signal.transfer import send, staging, upload

Edges = tuple[NDArray[np.int64], NDArray[np.int64]]

CPU_BLOCK = 64  # rows of a matrix product
_RUN_POINTS = 2**17  # of a run's transforms: 128 frames of 1024 points


def clip_of(config: MelConfig, support: Tensor, samples: int, *, copy: bool = True) -> Tensor:
    """A clip's own samples `[L]` of those that its frames' windows reach.

    They are copied, but without `copy` only where some have to be added.
    """
    within = support[config.first :][: samples - config.unreached]
    if len(within) == samples:
        return within.clone() if copy else within
    out = support.new_zeros(samples)
    out[config.unreached :][: len(within)] = within
    return out


class PackedStft:
    """Frames and overlap-add of a pack of clips that share a plan.

    `used` is the sum of the rows that the clips take (`MelConfig.rows`), `rows` the same filled up
    to whole blocks.

    Parameters
    ----------
    plan
        The constants of the clips' config, on their device.
    clips
        Frames `T` and samples `L` of each clip.
    backend
        What computes the pack.
    like
        A pack of the same clips at another rate, with the same rows.

    """

    product_rows = CPU_BLOCK
    """Rows of a block on a CPU."""

    def __init__(
        self,
        plan: Plan,
        clips: Sequence[tuple[int, int]],
        backend: Backend = REFERENCE,
        like: PackedStft | None = None,
    ) -> None:
        config = plan.config
        self.plan, self.clips, self.backend = plan, tuple(clips), backend
        cpu = plan.device.type == "cpu"
        self.hop, self.win, self.n_fft = config.hop_length, config.win_length, config.n_fft
        self.overlap = config.overlap
        self.extents: list[Extent] = extents(config, self.clips) if like is None else like.extents
        """First row of each clip, its frames and its rows, the gap behind it included."""
        self.used = sum(rows for _, _, rows in self.extents)
        self.starts = [start for start, _, _ in self.extents]
        self.firsts = [0] * len(self.clips)
        """Number of each clip's first frame: set where the clip is a block of a longer one."""
        self.block = self.product_rows if cpu else max(self.used, 1)
        self.rows = -(-self.used // self.block) * self.block
        # Multiples of the eight rows that compiled loops correct together.
        self._run = max(_RUN_POINTS // config.n_fft // 8 * 8, 16) if cpu else self.block

        def zeros(*shape: int, dtype: torch.dtype = plan.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=plan.device)

        self._signal = zeros((self.rows + self.overlap - 1) * self.hop)
        self.carry = zeros(self.overlap - 1, self.hop)
        """`[overlap - 1, hop]`: sums of the hops that the next block reaches, between two `add`."""
        self.complex_dtype = torch.complex64 if plan.dtype == torch.float32 else torch.complex128
        self.pasts: list[Tensor] = []
        """Argument of `pin`."""
        self._host_edges, tables = self._tables(like)
        tables |= zip(("targets", "sources"), map(torch.from_numpy, self._host_edges), strict=True)
        if like is None:
            numbered = [(k, *extent) for k, extent in enumerate(self.extents)]
            tables["numbers"] = torch.tensor(numbered).T
        sent = dict(zip(tables, upload(list(tables.values()), plan.device), strict=True))
        self.edges = sent["targets"], sent["sources"]
        """Samples beyond the clips' edges, and those that the extractor's padding repeats there."""
        self.clip_rows: Tensor = self._each_row(sent["numbers"]) if like is None else like.clip_rows
        """Number, first row, frames and rows of each row's clip `[4, used]`."""
        self.inverse_envelope = self._envelope(sent, like)
        """One over the sum of the squared windows at each sample, zero outside the clips."""
        self.pins = self.edges[0][:0], self._signal[:0]
        """Samples that are held, and what they are held to."""
        self.begin()

    @property
    def window(self) -> Tensor:
        """`[win_length]`."""
        return self.plan.window

    @property
    def framed(self) -> Tensor:
        """Bool `[rows]`: true in the rows of the clips, which have a frame, not between them."""
        _, start, frames, _ = self.clip_rows
        found = torch.arange(self.used, device=start.device) - start < frames
        return torch.nn.functional.pad(found, (0, self.rows - self.used))

    def _each_row(self, numbers: Tensor) -> Tensor:
        """The numbers of clips `[4, clips]`, the last of them their rows, for each used row."""
        return numbers.repeat_interleave(numbers[3], dim=1, output_size=self.used)

    def _tables(self, like: PackedStft | None) -> tuple[Edges, dict[str, Tensor]]:
        """The gather of the clips' edges, and the tables that `_envelope` takes; on the host."""
        config, hop = self.plan.config, self.hop
        first, frames, rows = np.array(self.extents, np.int64).T
        samples = np.array([samples for _, samples in self.clips], np.int64)
        origin, end = first * hop, (frames + self.overlap - 1) * hop
        silent = beyond(config, origin, samples, end)
        # The last window may end within a hop.
        rest = self.overlap * hop - self.win
        padded = beyond(config, origin, samples, end - rest) if rest else silent
        edges = edge_gather(config, origin, samples, padded)
        tables = {}
        if edges[0] is not silent.places:
            tables["silent"] = torch.from_numpy(silent.places)
        if (short := short_hops(config, frames)) is not None:
            tables["short"] = torch.as_tensor(short, dtype=self.plan.dtype)
        if like is None:
            tables["hops"] = torch.from_numpy(hop_index(self.overlap, frames, rows))
        return edges, tables

    def _envelope(self, tables: dict[str, Tensor], like: PackedStft | None) -> Tensor:
        """The inverse window envelope, spread from tables on the device."""
        self._hops: Tensor = tables["hops"] if like is None else like._hops
        hops, behind = self.plan.inverse_hops, self.rows + self.overlap - 1 - self.used
        if "short" in tables:
            hops = torch.cat([hops, tables["short"]])
        index = torch.nn.functional.pad(self._hops, (0, behind))
        envelope = hops.index_select(0, index).view(-1)
        return envelope.index_fill_(0, tables.get("silent", self.edges[0]), 0.0)

    def blocks(self) -> Iterator[slice]:
        """The rows of the pack in blocks of one size, for what takes matrix products."""
        for first in range(0, self.rows, self.block):
            yield slice(first, first + self.block)

    def runs(self) -> Iterator[slice]:
        """The used rows in runs that the cache holds, for what does not depend on their size."""
        for first in range(0, self.used, self._run):
            yield slice(first, min(first + self._run, self.used))

    def spread_rows(self, parts: Sequence[Tensor]) -> Tensor:
        """Lay out per-clip rows as the pack's.

        Parameters
        ----------
        parts
            `[T, ...]` of each clip; those of the host go to the device together.

        Returns
        -------
        Tensor
            `[rows, ...]` on the device, zero between the clips.

        """
        first, device = parts[0], self.plan.device
        shape = self.rows, *first.shape[1:]
        if first.device.type == "cpu":
            out = staging(shape, first.dtype, device).zero_()
        else:
            out = torch.zeros(shape, dtype=first.dtype, device=device)
        for part, start in zip(parts, self.starts, strict=True):
            out[start : start + part.shape[0]] = part
        return send(out, device)

    def spectrum(self, block: slice) -> Tensor:
        """STFT `[block, N]` of the present signal."""
        return self.backend.spectrum(self, block)

    def begin(self, raw: Tensor | None = None) -> None:
        """Start a new overlap-add, to be given all blocks in order.

        Parameters
        ----------
        raw
            Where the sums go, undivided by the envelope and laid out as `signal`, which then stays
            as it is. Without it they replace the signal, block by block behind where `spectrum`
            still reads.

        """
        self.carry.zero_()
        scale = self.inverse_envelope if raw is None else torch.ones_like(raw)
        self.sums = self._signal if raw is None else raw, scale
        """Where overlap-added samples go, and what each is multiplied by."""

    def add(self, block: slice, spectrum: Tensor) -> None:
        """Overlap-add spectra, divided by the window envelope: the least-squares signal.

        Parameters
        ----------
        block
            Rows, behind those of the call before.
        spectrum
            Complex `[block, N]`; zero in the rows between clips, which would reach into their
            neighbours. It stays as it is.

        """
        self.backend.overlap_add(self, block.start, spectrum)

    def finish(self) -> None:
        """The last block has been added: restore the edges."""
        self.restore_edges()

    def pin(self, pasts: Sequence[Tensor]) -> None:
        """Hold the first samples of every clip to settled ones, which are no edge.

        Parameters
        ----------
        pasts
            For each clip the samples from its first frame's window on; an empty one holds nothing.

        """
        self.pasts = list(pasts)
        targets, sources = self._host_edges
        places = [np.zeros(0, np.int64)]
        for past, start in zip(pasts, self.starts, strict=True):
            first, end = start * self.hop, start * self.hop + len(past)
            places.append(np.arange(first, end))
            beside = (targets < first) | (targets >= end)
            targets, sources = targets[beside], sources[beside]
        tables = map(torch.from_numpy, (targets, sources, np.concatenate(places)))
        to, source, held = upload(list(tables), self.plan.device)
        self.edges, self.pins = (to, source), (held, torch.cat([self._signal[:0], *pasts]))

    def restore_edges(self) -> None:
        """Put the padding beyond the clips' edges, and pinned samples, into the signal."""
        places, values = self.pins
        if places.numel():
            self._signal[places] = values
        self.backend.restore_edges(self)

    def fold(self, samples: Tensor) -> None:
        """Apply the transpose of `restore_edges` to samples in place.

        What lies beyond an edge is added to its source, and what is pinned counts for nothing.
        """
        targets, sources = self.edges
        if targets.numel():
            samples.index_add_(0, sources, samples[targets])
            samples[targets] = 0.0
        samples[self.pins[0]] = 0.0

    @property
    def signal(self) -> Tensor:
        """The present signal, all clips with their edges in one `[samples]`; may be written to."""
        return self._signal

    def audio(self, signal: Tensor | None = None) -> list[Tensor]:
        """Each clip's samples `[L]`, copied out of the present signal, or cut from one like it."""
        copy = signal is None
        signal = self._signal if signal is None else signal
        return [
            clip_of(self.plan.config, self._reached(signal, k), samples, copy=copy)
            for k, (_, samples) in enumerate(self.clips)
        ]

    def load(self, waves: Sequence[Tensor]) -> None:
        """Make `waves`, one `[L]` for each clip, the present signal."""
        self._signal.zero_()
        config = self.plan.config
        for k, wave in enumerate(waves):
            within = self._reached(self._signal, k)[config.first :]
            kept = wave[config.unreached :][: len(within)]
            within[: len(kept)] = kept
        self.restore_edges()

    def _reached(self, signal: Tensor, k: int) -> Tensor:
        """The `k`-th clip's rows of a signal, which hold all that its windows reach."""
        start, _, rows = self.extents[k]
        return signal[start * self.hop :][: rows * self.hop]


def frame_start_slope(config: MelConfig, like: Tensor) -> Tensor:
    """Phase `[N]` that a shift from the frame's first sample to its window's adds."""
    bins = torch.arange(like.shape[-1], dtype=torch.float64, device=like.device)
    # Before it is rounded to float32.
    turns = torch.remainder(bins * config.window_offset / config.n_fft, 1.0)
    return (2.0 * torch.pi * turns).to(like.real.dtype)


def to_frame_start(config: MelConfig, spectrum: Tensor) -> Tensor:
    """Count phases from the frame's first sample, as torch.stft and librosa do.

    Parameters
    ----------
    config
        The spectrum's config.
    spectrum
        `[T, N]` with phases counted from the window's first sample, `window_offset` later.

    """
    slope = frame_start_slope(config, spectrum)
    return spectrum * torch.polar(torch.ones_like(slope), -slope)
