"""Where a request's time went: told alike to its client, the metrics, the log, the trace."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import Request, Response

from unmel.service.ops import tracing
from unmel.service.ops.metrics import STAGES
from unmel.service.queue.tickets import Served
from unmel.service.web.components import parts_of


def tell(
    request: Request,
    response: Response,
    served: Sequence[Served],
    *,
    began: float,
    decoded: float,
    computed: float,
    frames: int,
) -> None:
    """Account for a request whose answer is encoded now; times are those of `time.monotonic`.

    Of several mels the one that was served last is what the request waited for.
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
    parts_of(request).metrics.observe_stages(seconds)
    request.state.stages = {f"{name}_seconds": round(s, 4) for name, s in seconds.items()}
    tracing.record(began, seconds, frames=frames, pack_items=last.pack_items)
