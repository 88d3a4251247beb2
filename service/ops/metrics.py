"""What Prometheus is shown: one object, told of what happens, asked for its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from unmel.models.engine.work import Work
from unmel.models.signal.plan import CacheStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_FRAMES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)
_FACTORS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

STAGES = ("decode", "queue", "compute", "encode")
"""What a reconstruction's time goes to, in this order."""


@dataclass(frozen=True)
class Snapshot:
    """What is so at the moment, as against what has happened."""

    queue_items: int
    queue_cost: float
    """Seconds that one lane would need for the queue."""
    lanes: Mapping[str, int]
    """Lanes by state."""
    plans: CacheStats
    device_memory: Mapping[str, int]
    """Bytes by kind; empty on a CPU."""
    held: int
    """Bytes of bodies, mels and answers."""
    streams: int
    """Streams that are open."""
    backend: Mapping[str, str]
    """The backend as labels; empty while none is chosen."""


class Metrics:
    """Counters and histograms of one service, and a snapshot taken when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = self._counter("requests", "Requests answered.", "route", "status")
        self._request = self._histogram(
            "request_seconds", "From a request's head to its answer's end.", _SECONDS, "route"
        )
        self._stages = {
            stage: self._histogram(f"{stage}_seconds", f"Time in the stage {stage}.", _SECONDS)
            for stage in STAGES
        }
        self._pack_items = self._histogram("pack_items", "Requests computed together.", _ITEMS)
        self._pack_frames = self._histogram("pack_frames", "Frames computed together.", _FRAMES)
        self._factor = self._histogram(
            "real_time_factor", "A lane's seconds for a second of audio, by pack.", _FACTORS
        )
        self._audio = self._counter("audio_seconds", "Audio computed.")
        self._refused = self._counter("refused", "Requests not taken on.", "reason")
        self._lost = self._counter("lanes_lost", "Lanes that were replaced.", "cause")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"unmel_{name}", meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(
            f"unmel_{name}", meaning, labels, buckets=tuple(buckets), registry=self.registry
        )

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is its path's template, never the path itself."""
        self._requests.labels(route, status).inc()
        self._request.labels(route).observe(seconds)

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        """A reconstruction went through its `STAGES`."""
        for stage, value in seconds.items():
            self._stages[stage].observe(value)

    def observe_pack(self, items: Sequence[Work], seconds: float) -> None:
        """A pack took a lane so many seconds."""
        audio = sum(item.audio_seconds for item in items)
        self._pack_items.observe(len(items))
        self._pack_frames.observe(sum(item.frames for item in items))
        if audio:
            self._factor.observe(seconds / audio)
            self._audio.inc(audio)

    def observe_refused(self, reason: str) -> None:
        """A request was not taken on; see errors.Reason."""
        self._refused.labels(reason).inc()

    def observe_lane_lost(self, cause: str) -> None:
        """A lane `died` or `hung`."""
        self._lost.labels(cause).inc()

    def show(self, take: Callable[[], Snapshot]) -> None:
        """Take a snapshot each time the text is asked for."""
        self.registry.register(_Moment(take))

    def text(self) -> bytes:
        """Everything in Prometheus's text format, of the type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _Moment(Collector):
    """A snapshot as metrics."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterator[Metric]:
        now = self._take()
        gauges: tuple[tuple[str, str, float], ...] = (
            ("queue_items", "Requests that wait for a lane.", now.queue_items),
            ("queue_cost_seconds", "What one lane would need for them.", now.queue_cost),
            ("plan_cache_bytes", "Held by the plan cache.", now.plans.nbytes),
            ("held_bytes", "Bodies, mels and answers held.", now.held),
            ("streams", "Streams that are open.", now.streams),
        )
        for name, meaning, value in gauges:
            yield GaugeMetricFamily(f"unmel_{name}", meaning, value)
        yield CounterMetricFamily("unmel_plan_cache_hits", "Plans found made.", now.plans.hits)
        yield CounterMetricFamily("unmel_plan_cache_misses", "Plans made.", now.plans.misses)
        if now.backend:
            info = GaugeMetricFamily(
                "unmel_backend_info", "What computes.", labels=list(now.backend)
            )
            info.add_metric(list(now.backend.values()), 1)
            yield info
        yield self._by("lanes", "Lanes by state.", "state", now.lanes)
        yield self._by("device_memory_bytes", "On a GPU, by kind.", "kind", now.device_memory)

    @staticmethod
    def _by(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Metric:
        family = GaugeMetricFamily(f"unmel_{name}", meaning, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family
