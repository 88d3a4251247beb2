"""The parts of one service, made as its settings want them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import numpy as np
from fastapi import Request

from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.streams import Options
from unmel.models.mel.presets import preset
from unmel.models.methods.recipe import resolve
from unmel.service.ops import logs, tracing
from unmel.service.ops.budget import Budget
from unmel.service.ops.metrics import Metrics, Snapshot
from unmel.service.ops.seats import Seats
from unmel.service.ops.settings import Settings
from unmel.service.queue.batching import Policy
from unmel.service.queue.lanes import Lanes, QueueLimits
from unmel.service.queue.progress import Following

logger = logging.getLogger("unmel.parts")

_PLAIN_PRESET = "hifigan-22k"
_WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    settings: Settings
    engine: Engine
    lanes: Lanes
    budget: Budget
    metrics: Metrics
    streams: Seats
    following: Following
    warm: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the warm-up is over."""

    async def warm_up(self) -> None:
        """Load the compiled loops, make the plans of the settings' presets, and run a pack and a
        stream to load what torch needs: the first request then costs what any other does.
        """
        await asyncio.to_thread(self._warm_up)
        self.warm.set()

    def _warm_up(self) -> None:
        names = self.settings.warm_presets
        self.engine.load()
        self.engine.plans.warm([preset(name).config for name in names])
        if names:
            probe = _probe(self.settings)
            self.engine.run([probe])
            stream = self.engine.stream(probe.config, Options())
            first = probe.config.lead // probe.config.hop_length + stream.options.lookahead + 1
            stream.feed(np.zeros((first + 1, probe.config.n_mels), np.float32))
            stream.end()
            while (step := stream.step) is not None:  # the first, one in between, and the last
                self.engine.run([step])
        logger.info("ready", extra={"plans": len(names), **self.backend})

    @property
    def backend(self) -> dict[str, str]:
        """The backend as labels; empty while none is chosen."""
        chosen, device = self.engine.chosen, str(self.engine.device)
        return {"backend": chosen.name, "fft": chosen.fft, "device": device} if chosen else {}

    async def watch(self) -> None:
        """Look after the lanes, for ever."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                self.lanes.watch()
            except Exception:  # no thread to be had, say: the next look may find one
                logger.exception("a lane could not be replaced")

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.lanes.waiting,
            self.lanes.cost,
            self.lanes.states,
            self.engine.plans.stats,
            self.engine.memory(),
            self.budget.held,
            self.streams.taken,
            self.backend,
        )


def build_engine(settings: Settings, kind: type[Engine] = Engine) -> Engine:
    """The engine that the settings ask for, the log and the traces set up as they say; Invalid
    where the machine has not what they ask for.
    """
    device = settings.resolve_device()
    if settings.otlp_endpoint is not None:
        tracing.configure(settings.otlp_endpoint)
    logs.configure(settings.log_level, settings.log_format)
    engine = kind(
        device,
        backend=settings.backend,
        plan_bytes=settings.plan_cache_mb * 2**20,
        pack_bytes=settings.pack_mb * 2**20,
    )
    if settings.backend != "auto":
        engine.load()  # what is named and cannot be had ends the process, before it listens
    return engine


def make_parts(settings: Settings, engine: Engine) -> Parts:
    """The parts around an engine; nothing runs yet."""
    metrics = Metrics()
    policy = Policy(
        settings.pack_mb * 2**20,
        settings.max_pack_seconds,
        settings.resolve_lanes(engine.device.type),
        settings.linger_ms / 1000,
    )
    limits = QueueLimits(
        settings.max_queue_seconds, settings.deadline_seconds, settings.hang_seconds
    )
    lanes = Lanes(engine, policy, limits, metrics=metrics, probe=_probe(settings))
    budget, streams = Budget(settings.max_held_bytes), Seats(settings.max_streams)
    following = Following(lanes.locate)
    parts = Parts(settings, engine, lanes, budget, metrics, streams, following)
    metrics.show(parts.snapshot)
    return parts


def parts_of(request: Request) -> Parts:
    """The parts of the service that a request came to."""
    parts: Parts = request.app.state.parts
    return parts


def _probe(settings: Settings) -> Item:
    """The least that a lane can be asked to compute."""
    config = preset(next(iter(settings.warm_presets), _PLAIN_PRESET)).config
    mel = np.zeros((2, config.n_mels), np.float32)
    return Item(mel, config, resolve(config.power, n_iter=1), config.samples(2))
