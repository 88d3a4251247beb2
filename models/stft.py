"""Packed STFT: many clips as one long array of frames, without padding to a common length.

Clips stand one after the other with `overlap - 1` empty rows between them, where `overlap` is
the number of frames that share a sample, so that overlap-add never mixes two clips. Frames and
overlap-add touch the window's support alone; index 0 of a frame is the window's first sample.
Each clip's edges are mended after every overlap-add by one precomputed gather, which repeats
what its extractor's padding does. On a CPU the rows are worked through in blocks of a fixed
size: a block stays in the cache, and a matrix product on a block of one size gives a row the
same bits wherever in the pack it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.config import MIN_ENVELOPE
from models.plan import Plan

CPU_BLOCK = 64  # rows; 64 frames of 1024 points are 0.5 MB of spectrum, which L2 holds


def reflect(position: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Indices into `[0, length)` of positions outside it, mirrored as often as needed."""
    if length == 1:
        return np.zeros_like(position)
    period = 2 * (length - 1)
    folded = np.abs(position) % period
    return np.where(folded < length, folded, period - folded)


class PackedStft:
    """Frames and overlap-add of a pack of clips that share a plan.

    `clips` gives `(frames T, samples L)` of each; `rows` is the sum of what the clips take
    (`MelConfig.rows`), filled up to whole blocks.
    """

    def __init__(self, plan: Plan, clips: Sequence[tuple[int, int]]) -> None:
        config = plan.config
        self.plan, self.clips = plan, tuple(clips)
        self.hop, self.win = config.hop_length, config.win_length
        self.overlap = config.overlap
        self.starts: list[int] = []
        used = 0
        for frames, samples in self.clips:
            self.starts.append(used)
            used += config.rows(frames, samples)
        self.block = CPU_BLOCK if plan.device.type == "cpu" else max(used, 1)
        self.rows = -(-used // self.block) * self.block

        kept = self.overlap * self.hop

        def zeros(*shape: int, dtype: torch.dtype = plan.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=plan.device)

        self._sum = zeros(self.rows + self.overlap - 1, self.hop)
        self._signal = zeros(self._sum.numel())
        self._frame = zeros(self.block, config.n_fft)
        self._windowed = zeros(self.block, kept)
        self.complex_dtype = torch.complex64 if plan.dtype == torch.float32 else torch.complex128
        self._spectrum = zeros(self.block, config.n_bins, dtype=self.complex_dtype)
        inverse, targets, sources = self._edges()
        self._inverse = torch.as_tensor(inverse, dtype=plan.dtype, device=plan.device)
        self._edge_to = torch.as_tensor(targets, device=plan.device)
        self._edge_from = torch.as_tensor(sources, device=plan.device)

    def _edges(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Inverse window envelope, zero outside the clips, and the gather of the clips' edges."""
        config, hop = self.plan.config, self.hop
        squared = np.zeros(self.overlap * hop)
        squared[: self.win] = config.window_values() ** 2
        steps = squared.reshape(self.overlap, hop)
        least = MIN_ENVELOPE * squared.sum() / hop
        inverse = np.zeros(self._signal.numel())
        targets: list[NDArray[np.int64]] = []
        sources: list[NDArray[np.int64]] = []
        for (frames, samples), start in zip(self.clips, self.starts, strict=True):
            envelope = np.zeros((frames + self.overlap - 1, hop))
            for r in range(self.overlap):
                envelope[r : r + frames] += steps[r]
            first = start * hop + config.lead
            inside = envelope.ravel()[config.lead : config.lead + samples]
            inverse[first : first + inside.size] = 1.0 / np.maximum(inside, least)
            if config.padding != "center_constant":
                support = (frames - 1) * hop + self.win
                outside = np.concatenate(
                    [np.arange(config.lead), np.arange(config.lead + samples, support)]
                )
                targets.append(start * hop + outside)
                sources.append(first + reflect(outside - config.lead, samples))
        if not targets:
            return inverse, np.zeros(0, np.int64), np.zeros(0, np.int64)
        return inverse, np.concatenate(targets), np.concatenate(sources)

    def blocks(self) -> Iterator[slice]:
        """The rows of the pack, a block at a time."""
        for first in range(0, self.rows, self.block):
            yield slice(first, first + self.block)

    def spread_rows(self, parts: Sequence[Tensor]) -> Tensor:
        """Per-clip rows `[T, ...]` laid out as the pack's rows `[rows, ...]`, zero in the gaps."""
        first = parts[0]
        out = torch.zeros((self.rows, *first.shape[1:]), dtype=first.dtype, device=self.plan.device)
        for part, start in zip(parts, self.starts, strict=True):
            out[start : start + part.shape[0]] = part
        return out

    def spectrum(self, block: slice) -> Tensor:
        """STFT `[block, N]` of the present signal; the buffer is reused by the next call."""
        rows = self._signal.as_strided(
            (self.block, self.win), (self.hop, 1), block.start * self.hop
        )
        torch.mul(rows, self.plan.window, out=self._frame[:, : self.win])
        torch.fft.rfft(self._frame, out=self._spectrum)
        return self._spectrum

    def begin(self) -> None:
        """Start a new overlap-add; the present signal stays readable until `finish`."""
        self._sum.zero_()

    def add(self, block: slice, spectrum: Tensor) -> None:
        """Inverse transform, window and overlap-add the rows `spectrum` `[block, N]`.

        The rows between clips must be zero: they would reach into their neighbours.
        Frames are added to a sample from the earliest to the latest, whatever the blocks: a
        float sum depends on its order, and a clip's must not depend on where it stands.
        """
        frames = torch.fft.irfft(spectrum, n=self.plan.config.n_fft)
        torch.mul(frames[:, : self.win], self.plan.window, out=self._windowed[:, : self.win])
        for r in range(self.overlap - 1, -1, -1):
            self._sum[block.start + r : block.stop + r] += self._windowed[
                :, r * self.hop : (r + 1) * self.hop
            ]

    def finish(self) -> None:
        """Divide by the window envelope and mend the edges: the least-squares signal."""
        torch.mul(self._sum.view(-1), self._inverse, out=self._signal)
        self.mend()

    def mend(self) -> None:
        """Make what the present signal has beyond the clips' edges what the extractor pads."""
        if self._edge_to.numel():
            self._signal[self._edge_to] = self._signal[self._edge_from]

    def fold(self, samples: Tensor) -> None:
        """The transpose of `mend`, in place: what lies beyond an edge is added to its source."""
        if self._edge_to.numel():
            samples.index_add_(0, self._edge_from, samples[self._edge_to])
            samples[self._edge_to] = 0.0

    @property
    def signal(self) -> Tensor:
        """The present signal, all clips with their edges in one `[samples]`; may be written to."""
        return self._signal

    @property
    def overlapped(self) -> Tensor:
        """The overlap-add since `begin`, before `finish`, laid out as `signal`."""
        return self._sum.view(-1)

    def audio(self) -> list[Tensor]:
        """The present signal of each clip `[L]`, copied out of the pack."""
        lead = self.plan.config.lead
        return [
            self._signal[start * self.hop + lead :][:samples].clone()
            for (_, samples), start in zip(self.clips, self.starts, strict=True)
        ]

    def load(self, waves: Sequence[Tensor]) -> None:
        """Make `waves`, one `[L]` for each clip, the present signal."""
        self._signal.zero_()
        lead = self.plan.config.lead
        for wave, (_, samples), start in zip(waves, self.clips, self.starts, strict=True):
            self._signal[start * self.hop + lead :][:samples] = wave
        self.mend()


def frame_start_slope(n_fft: int, win_length: int, like: Tensor) -> Tensor:
    """Phase `[N]` that a shift from the n_fft frame's first sample to the window's adds."""
    shift = (n_fft - win_length) // 2
    bins = torch.arange(like.shape[-1], dtype=torch.float64, device=like.device)
    turns = torch.remainder(bins * shift / n_fft, 1.0)  # before it is rounded to float32
    return (2.0 * torch.pi * turns).to(like.real.dtype)


def to_frame_start(n_fft: int, win_length: int, spectrum: Tensor) -> Tensor:
    """Phases counted from the n_fft frame's first sample, as torch.stft and librosa count them.

    `spectrum` `[T, N]` counts them from the window's first sample, `(n_fft - win) // 2` later.
    """
    slope = frame_start_slope(n_fft, win_length, spectrum)
    return spectrum * torch.polar(torch.ones_like(slope), -slope)
