"""The components of one service, made from its settings, and their warm-up."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass, field

import numpy as np
from fastapi import Request

from unmel.models.engine import Engine, Item, Options
from unmel.models.mel import MelConfig, preset
from unmel.models.methods import resolve
from unmel.service.ops import logs, tracing
from unmel.service.ops.limits import MemoryBudget, StreamLimit
from unmel.service.ops.metrics import Metrics, Snapshot
from unmel.service.ops.settings import Settings
from unmel.service.queue.batching import Policy
from unmel.service.queue.lanes import Lanes, QueueLimits
from unmel.service.queue.progress import ProgressTracker
from unmel.service.wire.filterbanks import HeldFilterbanks

logger = logging.getLogger("unmel.components")

_DEFAULT_PRESET = "hifigan-22k"
_WATCH_SECONDS = 1.0
# Failed warm-ups in a row after which the process asks to be restarted.
_MAX_FAILED_WARM_UPS = 8


@dataclass(frozen=True)
class Components:
    """Objects that the routes share."""

    settings: Settings
    engine: Engine
    lanes: Lanes
    budget: MemoryBudget
    metrics: Metrics
    streams: StreamLimit
    progress: ProgressTracker
    filterbanks: HeldFilterbanks
    warm: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the warm-up."""
    warm_up_fails: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the warm-up fails again and again."""

    @property
    def alive(self) -> bool:
        """Whether the process can compute, now or after a recovery."""
        return not (self.lanes.needs_restart or self.warm_up_fails.is_set())

    @property
    def ready(self) -> bool:
        """Whether the service is warm, every lane works and requests are accepted."""
        return self.warm.is_set() and self.lanes.ready

    async def warm_up(self) -> None:
        """Prepare everything that the first request would otherwise wait for.

        Loads the backend, makes the plans of the settings' presets, and computes a pack and a
        stream. Tries again until it succeeds: another process may hold the device's memory.
        """
        for failures in itertools.count(1):
            try:
                await asyncio.to_thread(self._warm_up)
                break
            except Exception:
                logger.exception("the warm-up failed; next attempt in %g s", _WATCH_SECONDS)
            if failures >= _MAX_FAILED_WARM_UPS:
                self.warm_up_fails.set()
            await asyncio.sleep(_WATCH_SECONDS)
        self.warm_up_fails.clear()
        self.warm.set()

    def _warm_up(self) -> None:
        names = self.settings.warm_presets
        self.engine.load()
        self.engine.plans.warm([preset(name).config for name in names])
        if names:
            # On a GPU that compiles the kernels of each one's sizes.
            self.engine.run([_smallest(preset(name).config) for name in names])
            probe = _probe(self.settings)
            stream = self.engine.stream(probe.config, Options())
            first = probe.config.first // probe.config.hop_length + stream.options.lookahead + 1
            stream.feed(np.zeros((first + 1, probe.config.n_mels), np.float32))
            stream.end()
            while (step := stream.step) is not None:  # the first, a middle one, and the last
                self.engine.run([step])
        logger.info("ready", extra={"plans": len(names), **self.backend})

    @property
    def backend(self) -> dict[str, str]:
        """Labels of the backend; empty before it is chosen."""
        chosen, device = self.engine.chosen, str(self.engine.device)
        return {"backend": chosen.name, "fft": chosen.fft, "device": device} if chosen else {}

    async def watch(self) -> None:
        """Replace lost lanes, forever."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                self.lanes.watch()
            except Exception:  # such as no thread left; the next attempt may succeed
                logger.exception("a lane could not be replaced")

    def snapshot(self) -> Snapshot:
        """State for the metrics."""
        return Snapshot(
            self.lanes.waiting,
            self.lanes.queued_seconds,
            self.lanes.states,
            self.engine.plans.stats,
            self.engine.memory(),
            self.budget.held,
            self.streams.open,
            self.filterbanks.nbytes,
            self.backend,
        )


def build_engine(settings: Settings, kind: type[Engine] = Engine) -> Engine:
    """Set up log and traces, and make the engine.

    Parameters
    ----------
    settings
        Settings of the service.
    kind
        Class of the engine.

    Raises
    ------
    Invalid
        The machine lacks the device, the backend or the packages that the settings require.

    """
    device = settings.resolve_device()
    if settings.otlp_endpoint is not None:
        tracing.configure(settings.otlp_endpoint)
    logs.configure(settings.log_level, settings.log_format)
    engine = kind(
        device,
        backend=settings.backend,
        plan_bytes=settings.plan_cache_mb * 2**20,
        pack_bytes=settings.resolve_pack_bytes(device),
    )
    if settings.backend != "auto":
        engine.load()  # a missing backend ends the process before it listens
    return engine


def make_components(settings: Settings, engine: Engine) -> Components:
    """Make the components around an engine, without starting anything.

    Parameters
    ----------
    settings
        Settings of the service.
    engine
        Computes packs.

    """
    metrics = Metrics()
    policy = Policy(
        engine.pack_bytes,
        settings.max_pack_seconds,
        settings.resolve_lanes(engine.device.type),
        settings.linger_ms / 1000,
    )
    limits = QueueLimits(
        settings.max_queue_seconds, settings.deadline_seconds, settings.hang_seconds
    )
    lanes = Lanes(engine, policy, limits, metrics=metrics, probe=_probe(settings))
    components = Components(
        settings,
        engine,
        lanes,
        MemoryBudget(settings.max_held_bytes),
        metrics,
        StreamLimit(settings.max_streams),
        ProgressTracker(lanes.locate),
        HeldFilterbanks(settings.filterbank_mb * 2**20),
    )
    metrics.show(components.snapshot)
    return components


def components_of(request: Request) -> Components:
    """Components of the service that received a request."""
    components: Components = request.app.state.components
    return components


def _probe(settings: Settings) -> Item:
    """The smallest item for a lane."""
    return _smallest(preset(next(iter(settings.warm_presets), _DEFAULT_PRESET)).config)


def _smallest(config: MelConfig) -> Item:
    """The smallest item of a config that runs all of its octaves."""
    mel = np.zeros((2, config.n_mels), np.float32)
    return Item(mel, config, resolve(config.power, n_iter=1), config.samples(2))
