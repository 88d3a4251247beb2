"""The path of a whole request: admission, body, computation by lanes, encoding, accounting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from fastapi import Request, Response

from unmel.models.errors import Invalid
from unmel.service.ops.settings import LONGEST_SECONDS
from unmel.service.queue.lanes import Lanes
from unmel.service.queue.progress import TrackedRequest
from unmel.service.queue.tickets import Served
from unmel.service.web.components import components_of
from unmel.service.web.disconnect import while_connected
from unmel.service.web.timings import record_timings
from unmel.service.wire.bodies import Body, read_body

if TYPE_CHECKING:
    from unmel.models.engine import Work

DEADLINE_HEADER = "X-Deadline-Ms"
MAX_DEADLINE_MS = 1000 * LONGEST_SECONDS
"""Largest value of the header."""


class WorkRequest(Protocol):
    """A checked request for work."""

    @property
    def items(self) -> Sequence[Work]:
        """Work for the lanes, at least one item."""

    @property
    def nbytes(self) -> int:
        """Upper bound of the bytes of input and result."""

    @property
    def timeout(self) -> float | None:
        """Deadline that the body states, seconds after the request's head."""


R = TypeVar("R", bound=WorkRequest)


def read_deadline(value: str | None, now: float) -> float | None:
    """Read the header X-Deadline-Ms.

    Parameters
    ----------
    value
        Value of the header; None if it is missing.
    now
        Time from which it counts, seconds.

    Returns
    -------
    The deadline, seconds; None without the header.

    Raises
    ------
    Invalid
        The value is not within 1 to `MAX_DEADLINE_MS`.

    """
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 8):
        raise Invalid(DEADLINE_HEADER, repr(value[:40]), "whole milliseconds, up to a day")
    if not 1 <= int(value) <= MAX_DEADLINE_MS:
        raise Invalid(DEADLINE_HEADER, value, f"1 to {MAX_DEADLINE_MS}")
    return now + int(value) / 1000


def check_admission(request: Request) -> tuple[float, float | None]:
    """Refuse a request before its body is read if it cannot be answered in time.

    Parameters
    ----------
    request
        A request whose X-Deadline-Ms counts from now on.

    Returns
    -------
    Now, and the deadline or None, both times of `time.monotonic`.

    Raises
    ------
    Invalid
        The header has another value.
    Overloaded
        No request with this deadline can be accepted now.

    """
    began = time.monotonic()
    answer_by = read_deadline(request.headers.get(DEADLINE_HEADER), began)
    components_of(request).lanes.check_admission(answer_by)
    return began, answer_by


async def serve_whole(
    request: Request,
    read: Callable[[Body], R],
    encode: Callable[[R, Sequence[Served]], Response],
) -> Response:
    """Answer a request whose whole body is read before the computation.

    Parameters
    ----------
    request
        A request whose body was not read.
    read
        Parses and checks the body, on a thread.
    encode
        Makes the response from the results, on a thread.

    Raises
    ------
    Overloaded, DeadlineMissed, LaneLost
        As `check_admission` and `Lanes.submit`; the first failure of several items counts.
    ClientDisconnect
        The client left; its work is cancelled.

    """
    components = components_of(request)
    began, answer_by = check_admission(request)
    with components.progress.track(request.state.request_id) as tracked:
        body = await read_body(request, components.settings, request.state.reservation)
        wanted = await asyncio.to_thread(read, body)
        del body  # no longer counted from here on
        request.state.reservation.resize(wanted.nbytes)
        if wanted.timeout is not None:
            latest = began + wanted.timeout
            answer_by = latest if answer_by is None else min(answer_by, latest)
        decoded = time.monotonic()
        work = _compute(components.lanes, wanted.items, answer_by, tracked)
        served = await while_connected(request, work)
        computed = time.monotonic()
        response = await asyncio.to_thread(encode, wanted, served)
    record_timings(
        request,
        response,
        served,
        began=began,
        decoded=decoded,
        computed=computed,
        frames=sum(item.frames for item in wanted.items),
    )
    return response


async def _compute(
    lanes: Lanes, items: Sequence[Work], answer_by: float | None, tracked: TrackedRequest
) -> list[Served]:
    """Results of all items; the first failure cancels the others."""
    if len(items) == 1:
        return [await lanes.submit(items[0], answer_by, tracked.queued)]
    tasks = [asyncio.ensure_future(lanes.submit(i, answer_by, tracked.queued)) for i in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
