"""A GPU's backend, made once in a process and used if it agrees with torch's on a small pack."""

from __future__ import annotations

import logging
import os
import threading
from importlib import import_module

import torch
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.backends.cpu.compiled import LOOPS, cache_folder
from unmel.models.backends.reference import REFERENCE
from unmel.models.engine.turn import turn
from unmel.models.mel.config import MelConfig
from unmel.models.methods.joint.consistent import consistent
from unmel.models.methods.schedule import Ramp, Schedule
from unmel.models.methods.start.random_phases import random_phases
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan, build_plan

logger = logging.getLogger("unmel.device")

# As far as two orders of a float32 sum may be apart after so few iterations.
_TOLERANCE = 1e-3
_ITERATIONS = 6  # of which all but the first two are replays of a graph


class Disagreement(Exception):
    """A GPU's backend gives another result than torch's."""


class DeviceLoops:
    """The Triton backend, once in a process.

    Triton compiles for the device that is there, by a compiler of the system's, and neither is
    known before. So the backend proves itself first: a small pack is run by it and by torch.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tried = False
        self._backend: Backend | None = None

    def wait(self, device: torch.device) -> Backend | None:
        """The backend, proved on this device; None if it does not compile, or differs.

        The devices of a process are of one kind.
        """
        with self._lock:
            if not self._tried:
                self._load(device)
                self._tried = True
        return self._backend

    def _load(self, device: torch.device) -> None:
        try:
            folder = cache_folder()
            if folder is not None:
                os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
            make = import_module("unmel.models.backends.cuda.backend").TritonBackend
            backend: Backend = make(LOOPS.wait() or REFERENCE)
            with turn(device):
                prove(backend, device)
        except Exception:  # whatever Triton, the driver or the device fails at: torch takes over
            logger.warning("Triton's kernels are not available", exc_info=True)
        else:
            self._backend = backend
            logger.info("Triton's kernels ready on %s", device)


DEVICE_LOOPS = DeviceLoops()


def prove(backend: Backend, device: torch.device, n_iter: int = _ITERATIONS) -> None:
    """Compare a backend with torch's on small packs: runs of each kind of power, and the comb.

    Parameters
    ----------
    backend
        The backend.
    device
        Where it computes.
    n_iter
        Iterations of each run.

    Raises
    ------
    Disagreement
        They differ by more than two orders of a sum can.

    """
    combed = [_combed(_plan(1.0, device), each) for each in (backend, REFERENCE)]
    for found, expected, what in zip(*combed, ("a filter", "a comb"), strict=True):
        _compare(found, expected, what)
    # The largest has several warps for a row, which the interpreter knows nothing of.
    cases = [(1.0, 512), (2.0, 512), (1.3, 512), *([(1.0, 4096)] if device.type == "cuda" else [])]
    for power, n_fft in cases:
        plan = _plan(power, device, n_fft)
        found, expected = (_signal(plan, each, n_iter) for each in (backend, REFERENCE))
        _compare(found, expected, f"a mel of power {power:g} by {n_fft} points")


def _plan(power: float, device: torch.device, n_fft: int = 512) -> Plan:
    config = MelConfig(
        sample_rate=16000,
        n_fft=n_fft,
        hop_length=160,
        win_length=400,
        n_mels=40,
        power=power,
        scale="linear",
    )
    return build_plan(config, device)


def _compare(found: Tensor, expected: Tensor, what: str) -> None:
    apart = float((found - expected).abs().max() / expected.abs().max())
    if not apart < _TOLERANCE:
        raise Disagreement(f"by {apart:.1e} of the largest sample, on {what}")


def _signal(plan: Plan, backend: Backend, n_iter: int) -> Tensor:
    """Samples that a few iterations of two clips leave, all octaves among them."""
    config, generator = plan.config, torch.Generator().manual_seed(7)
    clips = [(frames, config.samples(frames)) for frames in (7, 3)]
    pack = PackedStft(plan, clips, backend)

    def spread(bands: int) -> Tensor:
        drawn = [torch.rand(frames, bands, generator=generator) for frames, _ in clips]
        return pack.spread_rows([part.to(plan.dtype) for part in drawn])

    mel = spread(plan.alive.numel()) * plan.alive
    schedule = Schedule(n_iter, Ramp(0.9, 1.0), Ramp(0.5, 0.5), Ramp(1.25, 1.25), shares=(0.5, 0.5))
    with torch.inference_mode():
        start = spread(config.n_bins)
        phases = random_phases(pack, start, [7, 8], 1.0)
        consistent(pack, mel, mel < 0.1, start, phases, schedule)
        return torch.cat(pack.audio())


def _combed(plan: Plan, backend: Backend) -> tuple[Tensor, Tensor]:
    """Noise in clips, one of a single frame, through a filter, and the change by a comb."""
    config, generator = plan.config, torch.Generator().manual_seed(8)
    clips = [(frames, config.samples(frames)) for frames in (17, 1, 6)]
    pack = PackedStft(plan, clips, backend)

    def drawn(count: int) -> Tensor:
        return torch.rand(count, generator=generator)

    noise, half = drawn(pack.signal.numel()) - 0.5, drawn(18)
    taps = torch.cat([half.flip(0), half[1:]]).numpy()
    # Neighbours of one glide and others, some with no share.
    periods, shares = 30.0 + 120.0 * drawn(pack.rows).square(), drawn(pack.rows) - 0.3
    noise, periods, shares = (x.to(plan.device) for x in (noise, periods, shares.clamp_min_(0.0)))
    with torch.inference_mode():
        pack.signal.copy_(noise)
        band = backend.filtered(pack, taps)
        backend.comb(pack, noise, periods, shares)
        return band, pack.signal - noise
