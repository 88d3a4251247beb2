"""The path of a whole request: admission, body, computation by lanes, encoding, accounting."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence

from fastapi import Request, Response

from unmel.models.errors import Invalid
from unmel.service.ops.settings import LONGEST_SECONDS
from unmel.service.queue.tickets import Served
from unmel.service.web.accepted import Accepted, Outcome, R
from unmel.service.web.components import components_of
from unmel.service.web.disconnect import while_connected
from unmel.service.web.timings import noted_stages, server_timing
from unmel.service.wire.bodies import Body, read_body

DEADLINE_HEADER = "X-Deadline-Ms"
MAX_DEADLINE_MS = 1000 * LONGEST_SECONDS
"""Largest value of the header."""


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

    def encode_all(wanted: R, outcomes: Sequence[Outcome]) -> Response:
        return encode(wanted, [one for one in outcomes if isinstance(one, Served)])

    return await serve_each(request, read, encode_all)


async def serve_each(
    request: Request,
    read: Callable[[Body], R],
    encode: Callable[[R, Sequence[Outcome]], Response],
) -> Response:
    """Answer a request whose items may be at fault one by one; the rest as of `serve_whole`."""
    components = components_of(request)
    began, answer_by = check_admission(request)
    reservation = request.state.reservation
    with components.progress.track(request.state.request_id) as tracked:
        body = await read_body(request, components.settings, reservation)
        wanted = await asyncio.to_thread(read, body)
        del body  # no longer counted from here on
        accepted = Accepted(components, reservation, tracked, began, answer_by)
        response, seconds = await accepted.serve(
            wanted, encode, functools.partial(while_connected, request)
        )
    response.headers["Server-Timing"] = server_timing(seconds)
    request.state.stages = noted_stages(seconds)
    return response
