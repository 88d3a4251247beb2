"""Prometheus metrics: counters and histograms of events, and a snapshot of the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

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

if TYPE_CHECKING:  # the engine loads torch
    from unmel.models.engine import CacheStats, Work

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_FRAMES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)
_FACTORS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

Stage = Literal["decode", "queue", "compute", "encode"]
STAGES: tuple[str, ...] = get_args(Stage)
"""Stages of a request, in order: in the metrics, the log, the trace and Server-Timing."""


@dataclass(frozen=True)
class Snapshot:
    """State of the service at one moment."""

    queue_items: int
    queue_cost: float
    """Seconds that one lane needs for the queue."""
    lanes: Mapping[str, int]
    """Lanes by state."""
    plans: CacheStats
    device_memory: Mapping[str, int]
    """Bytes by kind; empty on a CPU."""
    held: int
    """Bytes of bodies, mels and answers in memory."""
    streams: int
    """Open streams."""
    filterbanks: int
    """Bytes of the filterbanks that clients sent."""
    backend: Mapping[str, str]
    """Labels of the backend; empty before it is chosen."""


class Metrics:
    """Counters and histograms of one service, and a snapshot at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = self._counter("requests", "Requests answered.", "route", "status", "key")
        self._request = self._histogram(
            "request_seconds",
            "From the head of a request to the end of its answer.",
            _SECONDS,
            "route",
        )
        self._stages = {
            stage: self._histogram(f"{stage}_seconds", f"Time in the stage {stage}.", _SECONDS)
            for stage in STAGES
        }
        self._pack_items = self._histogram("pack_items", "Requests computed together.", _ITEMS)
        self._pack_frames = self._histogram("pack_frames", "Frames computed together.", _FRAMES)
        self._factor = self._histogram(
            "real_time_factor", "Seconds of a lane per second of audio, by pack.", _FACTORS
        )
        self._audio = self._counter("audio_seconds", "Audio computed.")
        self._refused = self._counter("refused", "Requests refused.", "reason", "key")
        self._ended = self._counter(
            "streams_ended", "Streams over WebSocket and sequences over gRPC ended.", "code", "key"
        )
        self._lost = self._counter("lanes_lost", "Lanes replaced.", "cause")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"unmel_{name}", meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(
            f"unmel_{name}", meaning, labels, buckets=tuple(buckets), registry=self.registry
        )

    def observe_request(self, route: str, status: int, seconds: float, key: str) -> None:
        """Count an answered request.

        Parameters
        ----------
        route
            Template of the path; the path itself would have too many values.
        status
            HTTP status of the answer.
        seconds
            From the head of the request to the end of the answer.
        key
            Label of its key: one of the settings', `UNLABELLED` or `NO_KEY`.

        """
        self._requests.labels(route, status, key).inc()
        self._request.labels(route).observe(seconds)

    def observe_stages(self, seconds: Mapping[str, float]) -> None:
        """Record the durations of a request's stages, seconds by stage."""
        for stage, value in seconds.items():
            self._stages[stage].observe(value)

    def observe_pack(self, items: Sequence[Work], seconds: float) -> None:
        """Record a computed pack.

        Parameters
        ----------
        items
            Items of the pack.
        seconds
            Time that it took a lane.

        """
        audio = sum(item.audio_seconds for item in items)
        self._pack_items.observe(len(items))
        self._pack_frames.observe(sum(item.frames for item in items))
        if audio:
            self._factor.observe(seconds / audio)
            self._audio.inc(audio)

    def observe_refused(self, reason: str, key: str) -> None:
        """Count a refused request; `reason` is one of `errors.Reason`, `key` as above."""
        self._refused.labels(reason, key).inc()

    def observe_stream(self, code: int, key: str) -> None:
        """Count an ended WebSocket stream.

        Parameters
        ----------
        code
            Close code that the service or its server sent, or 1006 for a client that left,
            whatever code it gave: a client's own codes would have too many values.
        key
            As above.

        """
        self._ended.labels(code, key).inc()

    def observe_lane_lost(self, cause: str) -> None:
        """Count a replaced lane; `cause` is `died` or `hung`."""
        self._lost.labels(cause).inc()

    def show(self, take: Callable[[], Snapshot]) -> None:
        """Add a snapshot to every scrape; `take` makes it."""
        self.registry.register(_SnapshotCollector(take))

    def text(self) -> bytes:
        """All metrics in Prometheus's text format, of media type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _SnapshotCollector(Collector):
    """A snapshot as metrics."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterator[Metric]:
        now = self._take()
        gauges: tuple[tuple[str, str, float], ...] = (
            ("queue_items", "Requests waiting for a lane.", now.queue_items),
            ("queue_cost_seconds", "Seconds that one lane needs for them.", now.queue_cost),
            ("plan_cache_bytes", "Bytes in the plan cache.", now.plans.nbytes),
            ("held_bytes", "Bytes of bodies, mels and answers in memory.", now.held),
            ("streams", "Open streams.", now.streams),
            ("filterbank_bytes", "Bytes of clients' filterbanks.", now.filterbanks),
        )
        for name, meaning, value in gauges:
            yield GaugeMetricFamily(f"unmel_{name}", meaning, value)
        yield CounterMetricFamily(
            "unmel_plan_cache_hits", "Plans found in the cache.", now.plans.hits
        )
        yield CounterMetricFamily("unmel_plan_cache_misses", "Plans computed.", now.plans.misses)
        if now.backend:
            info = GaugeMetricFamily(
                "unmel_backend_info", "Backend in use.", labels=list(now.backend)
            )
            info.add_metric(list(now.backend.values()), 1)
            yield info
        yield self._by("lanes", "Lanes by state.", "state", now.lanes)
        yield self._by("device_memory_bytes", "GPU memory by kind.", "kind", now.device_memory)

    @staticmethod
    def _by(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Metric:
        family = GaugeMetricFamily(f"unmel_{name}", meaning, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family
