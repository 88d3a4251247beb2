"""Engine: plans and a backend on one device; work in, results out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import torch

from unmel.models.backends.base import Backend
from unmel.models.engine.choose import Wanted, choose
from unmel.models.engine.memory import DEFAULT_PACK_BYTES, countable
from unmel.models.engine.streams import Options, Stream
from unmel.models.engine.turn import turn
from unmel.models.engine.work import Resources, Result, Work
from unmel.models.errors import OutOfMemory
from unmel.models.mel.config import MelConfig
from unmel.models.signal.plan import PlanCache

T = TypeVar("T")

# A pack's iteration goes through all its rows, and clips do not need each other's: packs on a CPU
# are no longer than what its larger caches hold, some 10 MB.
_CACHED_ROWS = 1024
# Texts of errors that torch, CUDA and cuFFT raise as RuntimeError.
_OUT_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
# Seconds on one core for each K * N of a plan and its octaves.
_PLAN_SECONDS = 2e-7
# Seconds on one core to compile the loops; loading them from the cache takes about one.
_LOOPS_SECONDS = 12.0


class Engine:
    """Plans on one device, and the backend that computes packs with them.

    On a CPU a call runs on one thread, which it sets for the process: an engine scales by being
    called from several threads at once, because torch's own threads spin and starve each other
    on a busy machine. On a CPU the result of an item depends on the item alone, bit for bit,
    whatever it is packed with.

    Parameters
    ----------
    device
        Where tensors are.
    dtype
        Precision; double precision is computed by torch.
    plan_bytes
        Bytes of plans to keep.
    pack_bytes
        Bytes of memory that a pack may take.
    backend
        The backend's name, or `auto`; chosen at the first use, which waits for its loops.

    """

    def __init__(
        self,
        device: str | torch.device = "cpu",
        *,
        dtype: torch.dtype = torch.float32,
        plan_bytes: int = 256 * 2**20,
        pack_bytes: int = DEFAULT_PACK_BYTES,
        backend: Wanted = "auto",
    ) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.plans = PlanCache(self.device, plan_bytes, dtype)
        self.pack_bytes = countable(pack_bytes, self.device)
        """Most of what the items of a pack count, by their `nbytes`."""
        self.pack_rows = _CACHED_ROWS if self.device.type == "cpu" else sys.maxsize
        """Rows from which on a longer pack gains nothing."""
        self._wanted, self._choosing = backend, threading.Lock()
        self.chosen: Backend | None = None
        """The backend, once it has been chosen."""

    @property
    def backend(self) -> Backend:
        """The backend of every pack.

        Raises
        ------
        Invalid
            A backend was named that does not work here.

        """
        with self._choosing:
            if self.chosen is None:
                self.chosen = choose(self._wanted, self.device, self.dtype)
            return self.chosen

    def load(self) -> None:
        """Choose the backend and wait for its loops, so that no request has to."""
        _ = self.backend

    def stream(self, config: MelConfig, options: Options) -> Stream:
        """A new stream, whose steps are work for `run`.

        Raises
        ------
        OutOfMemory
            The plan does not fit.

        """
        return _short_of_memory(lambda: Stream(self.plans.get(config), options))

    def run(self, items: Sequence[Work]) -> list[Result]:
        """Compute work, what shares a `key` as one pack.

        Parameters
        ----------
        items
            Reconstructions, analyses and steps of streams; a stream has one step at a time.

        Returns
        -------
        list of Result
            In the order of the items.

        Raises
        ------
        NonFiniteOutput, OutOfMemory
            For the whole call, as is whatever the device raises: a caller that packs runs the
            items again one by one to find the one that failed.

        """
        return _short_of_memory(lambda: self._run(items))

    def preparation(self, config: MelConfig) -> float:
        """Estimated seconds before the first pack of a config: loops and plan that are missing."""
        loops = 0.0 if self.chosen or self._wanted == "torch" else _LOOPS_SECONDS
        if config in self.plans:
            return loops
        return loops + _PLAN_SECONDS * config.n_mels * config.n_bins

    def free_memory(self) -> None:
        """Return the memory that the device's allocator keeps for later."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def memory(self) -> dict[str, int]:
        """Bytes of device memory by kind; empty on a CPU, whose memory is the process's."""
        if self.device.type != "cuda":
            return {}
        return {
            "allocated": torch.cuda.memory_allocated(self.device),
            "reserved": torch.cuda.memory_reserved(self.device),
        }

    def _run(self, items: Sequence[Work]) -> list[Result]:
        groups: dict[Hashable, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(item.key, []).append(index)
        results: dict[int, Result] = {}
        resources = Resources(self.plans, self.backend, self.pack_bytes)
        with torch.inference_mode(), turn(self.device):
            for indices in groups.values():
                for together in self._packs(items, indices):
                    pack = [items[i] for i in together]
                    made = pack[0].compute(resources, pack)
                    results.update(zip(together, made, strict=True))
        return [results[i] for i in range(len(items))]

    def _packs(self, items: Sequence[Work], indices: Sequence[int]) -> Iterator[list[int]]:
        """Items of one key in as many packs as the memory, or a CPU's cache, asks for."""
        pack: list[int] = []
        rows = nbytes = 0
        for index in indices:
            rows, nbytes = rows + items[index].rows, nbytes + items[index].nbytes
            if pack and (rows > self.pack_rows or nbytes > self.pack_bytes):
                yield pack
                pack, rows, nbytes = [], items[index].rows, items[index].nbytes
            pack.append(index)
        yield pack


def _short_of_memory(work: Callable[[], T]) -> T:
    """The result of `work`; OutOfMemory where the device or the host had too little."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = str(error)
    # Raised anew: the caught error's frames hold the tensors that the caller wants freed.
    raise OutOfMemory(reason)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short: torch has a type for only some of them."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return any(words in text for words in _OUT_OF_MEMORY)
