"""A whole request, from its body to its answer: read, computed by lanes, encoded, accounted for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from fastapi import Request, Response

from unmel.models.engine.work import Work
from unmel.service.queue.lanes import Lanes
from unmel.service.queue.progress import Followed
from unmel.service.queue.tickets import Served
from unmel.service.web import timings
from unmel.service.web.components import parts_of
from unmel.service.web.disconnect import while_connected
from unmel.service.wire.bodies import Body, read_body
from unmel.service.wire.requests import read_deadline


class Asked(Protocol):
    """What a request asks for, read and checked."""

    @property
    def items(self) -> Sequence[Work]:
        """Work for the lanes, at least one."""

    @property
    def nbytes(self) -> int:
        """Bytes of what came and of what will go out, at most."""

    @property
    def timeout(self) -> float | None:
        """Seconds from the request's head within which its body wants the answer."""


A = TypeVar("A", bound=Asked)


async def serve_whole(
    request: Request,
    read: Callable[[Body], A],
    encode: Callable[[A, Sequence[Served]], Response],
) -> Response:
    """The answer to a request whose body comes before anything is computed.

    Parameters
    ----------
    request
        The request, of whose body nothing has been read.
    read
        Makes of the body what is asked for, on a thread of its own; raises what is wrong.
    encode
        Makes the response of what the lanes gave, likewise.

    Raises
    ------
    Overloaded, DeadlineMissed
        As `Lanes.knock` and `Lanes.submit`; of several items the first fault counts.
    ClientDisconnect
        The client left; nothing more is computed for it.

    """
    began, parts = time.monotonic(), parts_of(request)
    answer_by = read_deadline(request.headers.get("x-deadline-ms"), began)
    parts.lanes.knock(answer_by)
    with parts.following.follow(request.state.request_id) as followed:
        body = await read_body(request, parts.settings, request.state.hold)
        asked = await asyncio.to_thread(read, body)
        request.state.hold.set(asked.nbytes)
        if asked.timeout is not None:
            latest = began + asked.timeout
            answer_by = latest if answer_by is None else min(answer_by, latest)
        decoded = time.monotonic()
        work = _compute(parts.lanes, asked.items, answer_by, followed)
        served = await while_connected(request, work)
        computed = time.monotonic()
        response = await asyncio.to_thread(encode, asked, served)
    timings.tell(
        request,
        response,
        served,
        began=began,
        decoded=decoded,
        computed=computed,
        frames=sum(item.frames for item in asked.items),
    )
    return response


async def _compute(
    lanes: Lanes, items: Sequence[Work], answer_by: float | None, followed: Followed
) -> list[Served]:
    """What comes of all items, or the first fault and nothing."""
    tasks = [asyncio.ensure_future(lanes.submit(i, answer_by, followed.queued)) for i in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
