"""Stage times of a request: the same numbers for its client, the metrics, the log and the trace."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from unmel.service.ops import tracing
from unmel.service.ops.metrics import STAGES, Metrics
from unmel.service.queue.tickets import Served


def record_stages(
    metrics: Metrics,
    served: Sequence[Served],
    *,
    began: float,
    decoded: float,
    computed: float,
    frames: int,
) -> dict[str, float]:
    """Record the stage times of a request whose answer was just encoded.

    Parameters
    ----------
    metrics
        Metrics of the service.
    served
        Results; of several, the one that took longest gives the times.
    began, decoded, computed
        Times of `time.monotonic` after the head, the decoding and the computation.
    frames
        Frames of all mels.

    Returns
    -------
    Seconds of each stage, in order.

    """
    last = max(served, key=lambda one: one.queue_seconds + one.compute_seconds)
    spent = (
        decoded - began,
        last.queue_seconds,
        last.compute_seconds,
        time.monotonic() - computed,
    )
    seconds = dict(zip(STAGES, spent, strict=True))
    metrics.observe_stages(seconds)
    tracing.record(began, seconds, frames=frames, pack_items=last.pack_items)
    return seconds


def server_timing(seconds: Mapping[str, float]) -> str:
    """Value of the header Server-Timing."""
    return ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in seconds.items())


def noted_stages(seconds: Mapping[str, float]) -> dict[str, float]:
    """Fields of the log."""
    return {f"{name}_seconds": round(value, 4) for name, value in seconds.items()}
