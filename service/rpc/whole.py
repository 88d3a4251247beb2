"""A whole request, ModelInfer's or one of several on a stream: from a message to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from unmel.service.ops.limits import Reservation
from unmel.service.rpc.calls import Call, only_message
from unmel.service.rpc.messages import answer_message, parse_message, read_infer_message
from unmel.service.web.accepted import Accepted, Outcome, results_of
from unmel.service.web.components import Components
from unmel.service.web.timings import noted_stages, server_timing
from unmel.service.wire.infer_answer import make_infer_answer
from unmel.service.wire.infer_head import InferRequest
from unmel.service.wire.infer_models import VERSION, find_model

# Bytes reserved for each byte of a message: for it, its tensors, and the arrays.
_WEIGHT = 3


async def infer(
    components: Components,
    call: Call,
    reservation: Reservation,
    message: Any,
    kept: int,
    encode: Callable[[Any], bytes] | None = None,
) -> tuple[bytes, dict[str, float]]:
    """Answer a ModelInferRequest.

    Parameters
    ----------
    components
        Components of the service.
    call
        The call that it came by.
    reservation
        Its memory.
    message
        The request.
    kept
        Bytes of the request that stay in memory until the answer.
    encode
        Makes bytes of the answer's message, on a thread; by default as it is.

    Returns
    -------
    The answer, and the seconds of each stage.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty.
    Overloaded, DeadlineMissed, LaneLost
        As `Accepted.serve`.

    """
    components.lanes.check_admission(call.answer_by)

    def made(wanted: InferRequest, outcomes: Sequence[Outcome]) -> bytes:
        answer = make_infer_answer(wanted, results_of(outcomes))
        message = answer_message(answer)
        return bytes(message.SerializeToString()) if encode is None else encode(message)

    with components.progress.track(call.ident) as tracked:
        preset = find_model(message.model_name, message.model_version or VERSION)
        wanted = await asyncio.to_thread(read_infer_message, message, preset, components.settings)
        accepted = Accepted(components, reservation, tracked, call.began, call.answer_by, kept)
        return await accepted.serve(wanted, made)


async def parse_reserved(method: str, data: bytes, reservation: Reservation) -> Any:
    """Parse a message on a thread, when its memory is reserved."""
    reservation.resize(_WEIGHT * len(data))
    return await asyncio.to_thread(parse_message, method, data)


async def model_infer(components: Components, call: Call, requests: AsyncIterator[bytes]) -> bytes:
    """Answer a call of ModelInfer."""
    components.lanes.check_admission(call.answer_by)
    data = await only_message(requests)
    message = await parse_reserved("ModelInfer", data, call.reservation)
    kept = 2 * len(data)  # and as much in the message
    answer, seconds = await infer(components, call, call.reservation, message, kept)
    call.metadata["server-timing"] = server_timing(seconds)
    call.noted |= noted_stages(seconds)
    return answer
