"""The iterations of a stage on a GPU: one is captured as a graph, and replayed for the others.

An iteration is six launches, each of which takes the host longer than a short pack takes the
device. What moves from one to the next is in the device's memory: coefficients in a table, and a
counter of the iterations. Every buffer is there before the capture, which therefore allocates
nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from unmel.models.backends.base import BandTables, MelState, Pack, StepCoefficients
from unmel.models.backends.cuda import frames, mel_step, transforms

logger = logging.getLogger("unmel.device")

# Fewer are launched one by one: a capture costs the host as much as two.
_FEWEST = 4


class Stage:
    """Buffers of a pack's iterations, and the graph of one.

    Parameters
    ----------
    pack
        The pack, all of whose rows are one block.
    bands
        Bands of its mel step.

    """

    def __init__(self, pack: Pack, bands: BandTables) -> None:
        signal, rows = pack.signal, pack.used
        self._pack = pack
        # Rows that nobody reads, so that packs of about the same size share a transform's plan.
        shape = _rounded(rows), pack.n_fft // 2 + 1
        self._frames = signal.new_empty(shape[0], pack.n_fft)
        self._spectrum = torch.empty(shape, dtype=torch.complex64, device=signal.device)
        self._rows = rows
        self._space = mel_step.space(rows, bands, signal)
        self._transforms = transforms.space(self._frames)
        self._counter = torch.empty(1, dtype=torch.int32, device=signal.device)
        self._coefficients = signal.new_empty(0, 8)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._ended: torch.cuda.Event | None = None
        """The end of the latest run, once there is a graph."""

    def run(
        self, state: MelState, steps: Sequence[StepCoefficients], into: Tensor | None = None
    ) -> None:
        """Iterate; see `Backend.run_stage`. The state is the same at every call."""
        table = _coefficients(tuple(steps), self._counter.device)
        if len(table) > len(self._coefficients):
            # The graph reads the table where it was.
            self._coefficients, self._graph = torch.empty_like(table), None
        self._coefficients[: len(table)].copy_(table)
        self._counter.fill_(-1)
        self._pack.begin(into)
        left, graph = len(steps), None if into is not None else self._graph
        if graph is None and left >= _FEWEST and into is None and self._counter.is_cuda:
            self._once(state)  # compiles kernels and makes plans, which no capture allows
            graph = self._graph = self._captured(state)
            left -= 1
        for _ in range(left):
            if graph is None:
                self._once(state)
            else:
                graph.replay()
        if self._ended is not None:
            self._ended.record()

    def _captured(self, state: MelState) -> torch.cuda.CUDAGraph | None:
        """One iteration as a graph, from the present stream; nothing is computed.

        None where one could not be captured: then each is launched kernel by kernel.
        """
        graph = torch.cuda.CUDAGraph()
        with _CAPTURES.one_at_a_time:
            if not _CAPTURES.work:
                return None
            try:
                # Other threads may do meanwhile what a capture does not allow.
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self._once(state)
                finally:
                    graph.capture_end()
            except RuntimeError:  # the device may be left in a state that allows no other
                logger.warning("an iteration cannot be captured as a graph", exc_info=True)
                _CAPTURES.work = False
                return None
        self._ended = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch's own
        _LATEST.keep(graph, self._ended)
        return graph

    def _once(self, state: MelState) -> None:
        pack, cut, spectrum = self._pack, self._frames, self._spectrum
        mine, numbers = slice(self._rows), (self._coefficients, self._counter)
        frames.frame(pack.signal, pack.window, cut[mine], 0, pack.hop, self._counter)
        transforms.forward(cut, spectrum, self._transforms)
        mel_step.apply(state, spectrum[mine], self._space, *numbers)
        transforms.backward(spectrum, cut, self._transforms)
        into, scale = pack.sums
        frames.overlap_add(
            cut[mine], pack.window, len(pack.carry) + 1, scale, into, pack.hop, 1.0 / pack.n_fft
        )
        frames.put(pack.signal, *pack.pins)
        frames.move(pack.signal, *pack.edges)


class _Captures:
    """Captures of a process: one at a time, none after one has failed."""

    def __init__(self) -> None:
        self.one_at_a_time = threading.Lock()
        """Torch allows a process one capture at a time."""
        self.work = True
        """Until one has failed."""


_CAPTURES = _Captures()


class _Latest(threading.local):
    """A thread's graphs whose replays have not ended: until then none may be destroyed."""

    def __init__(self) -> None:
        self._kept: deque[tuple[torch.cuda.CUDAGraph, torch.cuda.Event]] = deque()

    def keep(self, graph: torch.cuda.CUDAGraph, ended: torch.cuda.Event) -> None:
        while self._kept and self._kept[0][1].query():  # type: ignore[no-untyped-call] # torch's
            self._kept.popleft()
        self._kept.append((graph, ended))


_LATEST = _Latest()


def _rounded(rows: int) -> int:
    """As many rows or a sixteenth more."""
    step = max(1 << max(rows.bit_length() - 5, 0), 8)
    return -(-rows // step) * step


@lru_cache(maxsize=128)  # clients choose numbers of iterations
def _coefficients(steps: tuple[StepCoefficients, ...], device: torch.device) -> Tensor:
    """The coefficients of iterations `[n, 8]`, on the device for good."""
    table = np.zeros((len(steps), 8), np.float32)
    table[:, : len(StepCoefficients._fields)] = steps
    return torch.from_numpy(table).to(device)  # waits, so that every stream may read it
