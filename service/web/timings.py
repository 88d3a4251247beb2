"""Stage times of a request: the same numbers for its client, the metrics, the log and the trace."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import Request, Response

from unmel.service.ops import tracing
from unmel.service.ops.metrics import STAGES
from unmel.service.queue.tickets import Served
from unmel.service.web.components import components_of


def record_timings(
    request: Request,
    response: Response,
    served: Sequence[Served],
    *,
    began: float,
    decoded: float,
    computed: float,
    frames: int,
) -> None:
    """Record the stage times of a request whose answer was just encoded.

    Parameters
    ----------
    request
        The request; its state gets the times for the log.
    response
        The answer; it gets the header Server-Timing.
    served
        Results; of several, the one that took longest gives the times.
    began, decoded, computed
        Times of `time.monotonic` after the head, the decoding and the computation.
    frames
        Frames of all mels.

    """
    last = max(served, key=lambda one: one.queue_seconds + one.compute_seconds)
    spent = (
        decoded - began,
        last.queue_seconds,
        last.compute_seconds,
        time.monotonic() - computed,
    )
    seconds = dict(zip(STAGES, spent, strict=True))
    response.headers["Server-Timing"] = ", ".join(
        f"{name};dur={1000 * value:.1f}" for name, value in seconds.items()
    )
    components_of(request).metrics.observe_stages(seconds)
    request.state.stages = {f"{name}_seconds": round(s, 4) for name, s in seconds.items()}
    tracing.record(began, seconds, frames=frames, pack_items=last.pack_items)
