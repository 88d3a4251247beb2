"""Engine.run(items) -> results: the only door between a service and the methods."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.engine.analysis import Analysis, analyze
from unmel.models.engine.choose import Wanted, choose
from unmel.models.engine.long_clips import check_long, reconstruct_long
from unmel.models.engine.memory import DEFAULT_PACK_BYTES, row_bytes
from unmel.models.engine.reconstruct import reconstruct
from unmel.models.engine.streams import Options, Step, Stream, advance
from unmel.models.errors import NonFiniteOutput, OutOfMemory
from unmel.models.mel.config import MelConfig
from unmel.models.methods.recipe import Recipe
from unmel.models.methods.schedule import Ramp, Schedule
from unmel.models.signal.packed_stft import PackedStft, to_frame_start
from unmel.models.signal.plan import Plan, PlanCache
from unmel.models.signal.targets import Target, make_targets
from unmel.models.signal.transfer import download

T = TypeVar("T")
Output = Literal["audio", "magnitude", "stft"]

# A pack's iteration goes through all its rows, and clips do not need each other's: packs on a CPU
# are no longer than what its larger caches hold, some 10 MB.
_CACHED_ROWS = 1024
# Speed depends neither on how many iterations are asked for nor on their momentum.
_ANY_SCHEDULE = Schedule(0, Ramp(0.0, 0.0))
# One core's, for K N of a plan and its octaves.
_PLAN_SECONDS = 2e-7
# One core's, to compile the loops; what is in the cache is loaded in one.
_LOOPS_SECONDS = 12.0


@dataclass(frozen=True, eq=False)
class Item:
    """One reconstruction: checked mel values `[T, K]` and what is wanted of them."""

    mel: NDArray[np.float32]
    config: MelConfig
    recipe: Recipe
    samples: int
    seed: int = 0
    output: Output = "audio"
    phases: NDArray[np.float32] | None = None
    """First phases `[T, N]` in radians, counted as torch.stft counts them, for start `GIVEN`."""

    @property
    def frames(self) -> int:
        return int(self.mel.shape[0])

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that it makes."""
        return self.samples / self.config.sample_rate

    @property
    def key(self) -> tuple[MelConfig, Recipe]:
        """Items of one key can share a pack: they agree in all that alters the iteration."""
        return self.config, self.recipe

    @property
    def speed_key(self) -> Hashable:
        """Items of one key are computed at one speed, however many iterations they take."""
        return self.config, replace(self.recipe, schedule=_ANY_SCHEDULE)

    @property
    def rows(self) -> int:
        """Rows of a pack that the item takes, its gap included."""
        return self.config.rows(self.frames, self.samples)

    @property
    def nbytes(self) -> int:
        """Bytes of a pack that the item takes; more than the budget if it is done in blocks."""
        return self.rows * row_bytes(self.config, self.recipe)

    @property
    def cost(self) -> float:
        """Work in units that grow as the time does, whatever the method: see `Recipe.points`."""
        alone = self.output == "magnitude"
        return self.rows * self.recipe.points(self.config, magnitude_only=alone)


@dataclass(frozen=True, eq=False)
class Result:
    """What came of an item."""

    values: NDArray[np.float32] | NDArray[np.complex64]
    """Samples `[L]`, full scale at 1; linear magnitude or complex STFT `[N, T]`; or a mel."""
    warnings: tuple[str, ...] = ()


Work = Item | Step | Analysis
"""What an engine runs."""


class Engine:
    """Plans on one device and the methods that use them.

    On a CPU a call runs on one thread, which it sets for the process: an engine scales by being
    called from several threads at once, because torch's own threads spin and starve each other
    on a busy machine. The result of an item depends on the item alone, bit for bit, whatever it
    is packed with. The backend is chosen before the first pack, by whoever asks for it first, who
    waits for its loops; see `choose`.
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
        self.pack_bytes = pack_bytes
        self._wanted, self._choosing = backend, threading.Lock()
        self.chosen: Backend | None = None
        """The backend, once it has been chosen."""

    @property
    def backend(self) -> Backend:
        """The backend of every pack; Invalid if one was named that cannot be had."""
        with self._choosing:
            if self.chosen is None:
                self.chosen = choose(self._wanted, self.device, self.dtype)
            return self.chosen

    def load(self) -> None:
        """Choose the backend and wait for its loops, so that no request has to."""
        _ = self.backend

    def stream(self, config: MelConfig, options: Options) -> Stream:
        """A new stream, whose steps are items for `run`; OutOfMemory if there is none for it."""
        return _short_of_memory(lambda: Stream(self.plans.get(config), options))

    def run(self, items: Sequence[Work]) -> list[Result]:
        """Results in the order of the items; those of one `key` are computed as one pack. A step
        of a stream gives the samples that it settles; a stream has one step at a time. An analysis
        gives its mel.

        Raises NonFiniteOutput, OutOfMemory, or whatever the device raises, for the whole call: a
        caller that packs runs the items again one by one to find the guilty one.
        """
        return _short_of_memory(lambda: self._run(items))

    def preparation(self, config: MelConfig) -> float:
        """Seconds that loops and the plan of a config are likely to take before its first pack; 0
        if they are there.
        """
        loops = 0.0 if self.chosen or self._wanted == "torch" else _LOOPS_SECONDS
        if config in self.plans:
            return loops
        return loops + _PLAN_SECONDS * config.n_mels * config.n_bins

    def free_memory(self) -> None:
        """Give back what the device's allocator keeps for later."""
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
        with torch.inference_mode(), _cpu_thread(self.device):
            for indices in groups.values():
                for together in self._packs(items, indices):
                    made = self._run_together([items[i] for i in together])
                    results.update(zip(together, made, strict=True))
        return [results[i] for i in range(len(items))]

    def _packs(self, items: Sequence[Work], indices: Sequence[int]) -> Iterator[list[int]]:
        """Items of one key in as many packs as the memory, or a CPU's cache, asks for."""
        most_rows = _CACHED_ROWS if self.device.type == "cpu" else sys.maxsize
        pack: list[int] = []
        rows = nbytes = 0
        for index in indices:
            rows, nbytes = rows + items[index].rows, nbytes + items[index].nbytes
            if pack and (rows > most_rows or nbytes > self.pack_bytes):
                yield pack
                pack, rows, nbytes = [], items[index].rows, items[index].nbytes
            pack.append(index)
        yield pack

    def _run_together(self, items: Sequence[Work]) -> list[Result]:
        """Items of one key as one pack."""
        steps = [item for item in items if isinstance(item, Step)]
        if steps:
            return [Result(samples) for samples in advance(self.backend, steps)]
        waves = [item for item in items if isinstance(item, Analysis)]
        if waves:
            plan = self.plans.get(waves[0].config)
            warnings = _plan_warnings(plan.empty)
            return [Result(analyze(plan, item.wave), warnings) for item in waves]
        return self._run_pack([item for item in items if isinstance(item, Item)])

    def rows(self, config: MelConfig, recipe: Recipe) -> int:
        """Rows that a pack may have within the budget."""
        return self.pack_bytes // row_bytes(config, recipe)

    def _run_long(self, item: Item, plan: Plan, target: Target) -> Tensor:
        """The samples `[L]` of an item too long for a pack; TooLarge if it must be one."""
        limit = self.rows(item.config, item.recipe)
        check_long(item.config, item.recipe, item.output, item.frames, limit)
        wave = reconstruct_long(
            plan,
            self.backend,
            item.recipe,
            target,
            item.samples,
            item.seed,
            item.phases,
            limit,
        )
        return wave * target.gain

    def _run_pack(self, items: Sequence[Item]) -> list[Result]:
        config, recipe = items[0].key
        plan = self.plans.get(config)
        warnings = _plan_warnings(plan.empty)
        targets = make_targets(plan, [item.mel for item in items])
        if len(items) == 1 and items[0].rows > self.rows(config, recipe):
            [wave] = download([self._run_long(items[0], plan, targets[0])])
            return [Result(_finite(wave), warnings)]
        pack = PackedStft(plan, [(item.frames, item.samples) for item in items], self.backend)
        magnitude = reconstruct(
            pack,
            recipe,
            targets,
            [item.seed for item in items],
            [item.phases for item in items],
            waveform=any(item.output != "magnitude" for item in items),
        )
        # Made only where asked for; an empty one is never read.
        wanted = any(item.output != "audio" for item in items)
        spectra = _spectra(pack) if wanted else torch.empty(0, device=self.device)
        outputs = download(_outputs(items, targets, pack, magnitude, spectra))
        return [Result(_finite(values), warnings) for values in outputs]


@contextmanager
def _cpu_thread(device: torch.device) -> Iterator[None]:
    """One torch thread, and no denormals while a pack is computed on a CPU.

    A mended band can fall towards zero for ever; denormal arithmetic is 100 times slower, and
    what it would keep is far below hearing. The caller's own mode is put back.
    """
    if device.type != "cpu":
        yield
        return
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    flushed = bool((torch.tensor([1e-40]) * 1.0 == 0).item())  # torch has no way to ask
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def _outputs(
    items: Sequence[Item],
    targets: Sequence[Target],
    pack: PackedStft,
    magnitude: Tensor | None,
    spectra: Tensor,
) -> list[Tensor]:
    """Each item's samples `[L]`, magnitude or STFT `[N, T]`, at the client's level."""
    config = pack.plan.config
    outputs = []
    for item, target, wave, start in zip(items, targets, pack.audio(), pack.starts, strict=True):
        rows = slice(start, start + item.frames)
        if item.output == "audio":
            values = wave
        elif item.output == "magnitude" and magnitude is not None:
            values = magnitude[rows].T
        else:
            values = to_frame_start(config.n_fft, config.win_length, spectra[rows]).T
            values = values.abs() if item.output == "magnitude" else values
        outputs.append(values * target.gain)
    return outputs


def _spectra(pack: PackedStft) -> Tensor:
    """STFT `[rows, N]` of the pack's signal."""
    config = pack.plan.config
    out = torch.empty(pack.rows, config.n_bins, dtype=pack.complex_dtype, device=pack.plan.device)
    for block in pack.blocks():
        out[block] = pack.spectrum(block)
    return out


def _short_of_memory(work: Callable[[], T]) -> T:
    """What comes of `work`; OutOfMemory where the device, or the host, had too little."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = str(error)
    # Raised anew: the caught error's frames hold the tensors that the caller wants freed.
    raise OutOfMemory(reason)


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch has a kind for a GPU's memory, but only a text for the CPU's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "allocate memory" in str(error) or "not enough memory" in str(error)


def _finite(values: Tensor) -> NDArray[np.float32] | NDArray[np.complex64]:
    """Values of the host as numpy's; NonFiniteOutput if they are not all finite."""
    found: NDArray[np.float32] | NDArray[np.complex64]
    if values.is_complex():
        found = np.ascontiguousarray(values.numpy(), np.complex64)
    else:
        found = np.ascontiguousarray(values.numpy(), np.float32)
    if not np.isfinite(found).all():
        raise NonFiniteOutput("the reconstruction is not finite")
    return found


def _plan_warnings(empty: tuple[int, ...]) -> tuple[str, ...]:
    if not empty:
        return ()
    bands = ", ".join(map(str, empty[:8])) + (" ..." if len(empty) > 8 else "")
    return (
        f"{len(empty)} of the mel bands hold no bin of the transform and were left out: {bands}",
    )
