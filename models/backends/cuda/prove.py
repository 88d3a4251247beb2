"""A GPU's loops: compiled on their device before the first pack, used if they agree with torch."""

from __future__ import annotations

import logging
import os
import threading
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from unmel.models.backends.cpu.compiled import cache_folder
from unmel.models.mel.config import MelConfig
from unmel.models.methods.joint.consistent import consistent
from unmel.models.methods.schedule import Ramp, Schedule
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan, build_plan

logger = logging.getLogger("unmel.device")

# As far as two orders of a float32 sum may be apart after so few iterations.
_TOLERANCE = 1e-3
_ITERATIONS = 2


class Disagreement(Exception):
    """A device's loops give something else than torch's."""


class DeviceLoops:
    """`models/gpu`, once in a process.

    Triton compiles for the device that is there, by a compiler of the system's, and neither is
    known before. So the loops prove themselves first: a small pack is run by them and by torch.
    Where they cannot be compiled, or differ, torch's go on alone, and the log says so.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._module: ModuleType | None = None

    def start(self, device: torch.device) -> None:
        """Begin to compile, unless that was done before. They are proved on this device: those of a
        process are of one kind.
        """
        with self._lock:
            if self._thread is None:
                # Not a daemon: a compiler must not be running while the interpreter ends.
                work = threading.Thread(target=self._load, args=(device,), name="compile-device")
                self._thread = work
                work.start()

    def wait(self) -> ModuleType | None:
        """The loops when compiling, where it was begun, has ended; None if they are not proved."""
        if self._thread is not None:
            self._thread.join()
        return self._module

    def _load(self, device: torch.device) -> None:
        try:
            folder = cache_folder()
            if folder is not None:
                os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
            loops = import_module("unmel.models.backends.cuda.kernels")
            prove(loops, device)
        except Exception:  # whatever Triton, the driver or the device has: torch does without
            logger.warning("no compiled loops for the GPU; torch's are slower", exc_info=True)
        else:
            self._module = loops
            logger.info("compiled loops ready on %s", device)


DEVICE_LOOPS = DeviceLoops()


def prove(loops: ModuleType, device: torch.device) -> None:
    """Disagreement where `loops` and torch's differ on a small pack, of power 1 or 2."""
    for power in (1, 2):
        config = MelConfig(
            sample_rate=16000,
            n_fft=512,
            hop_length=160,
            win_length=400,
            n_mels=40,
            power=power,
            scale="linear",
        )
        plan = build_plan(config, device)
        found, expected = (_signal(plan, kernels) for kernels in (loops, None))
        apart = float((found - expected).abs().max() / expected.abs().max())
        if not apart < _TOLERANCE:
            raise Disagreement(f"by {apart:.1e} of the largest sample, on a mel of power {power}")


def _signal(plan: Plan, kernels: ModuleType | None) -> Tensor:
    """Samples that a few iterations of two clips leave, all octaves among them."""
    config, generator = plan.config, torch.Generator().manual_seed(7)
    clips = [(frames, config.samples(frames)) for frames in (17, 6)]
    pack = PackedStft(plan, clips, kernels)

    def spread(bands: int) -> Tensor:
        drawn = [torch.rand(frames, bands, generator=generator) for frames, _ in clips]
        return pack.spread_rows([part.to(plan.dtype) for part in drawn])

    mel = spread(plan.alive.numel()) * plan.alive
    schedule = Schedule(
        _ITERATIONS, Ramp(0.9, 1.0), Ramp(0.5, 0.5), Ramp(1.25, 1.25), shares=(0.5, 0.5)
    )
    with torch.inference_mode():
        start, phases = spread(config.n_bins), spread(config.n_bins)
        consistent(pack, mel, mel < 0.1, start, phases, schedule)
        return torch.cat(pack.audio())
