"""WS /stream: mel frames in, audio out, while the mel is still being generated."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from numpy.typing import NDArray

from unmel.models.errors import Invalid, Unreadable
from unmel.service.errors import Overloaded
from unmel.service.web.access import key_label
from unmel.service.web.components import Components
from unmel.service.web.exchange import Exchange
from unmel.service.web.stream_session import StreamSession, parse_frames
from unmel.service.wire.codecs import parse_json
from unmel.service.wire.filterbanks import HeldFilterbanks
from unmel.service.wire.problems import close_code_of, problem_body, status_of
from unmel.service.wire.schemas import StreamOptions

logger = logging.getLogger("unmel.streaming")

router = APIRouter()

_FORMATS = {"s16le": "pcm", "f32le": "pcm_f32"}
# Lists and objects in a message; a config has few.
_MAX_PARTS = 5000
_MAX_REASON = 123  # bytes; RFC 6455, section 5.5
_TOO_LARGE = 1009  # the server closes with it for a message above the limit


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Exchange messages until the client's end.

    The client sends options as text, frames as bytes, and the end as text; the service sends
    audio as bytes, and a summary as text at the end. Each message is computed and answered before
    the next one is read, so that the connection slows down a client that sends too fast or reads
    too slowly.
    """
    components: Components = socket.app.state.components
    await socket.accept()
    began, code, left = time.monotonic(), 1000, False
    session: StreamSession | None = None
    key = key_label(socket.scope)
    noted: dict[str, str] = {}
    try:
        components.lanes.check_admission()
        with components.streams.acquire(), components.budget.reserve() as reservation:
            limit = components.settings.client_seconds
            text = await _receive_text(socket, limit)
            options = _read_options(text, components.filterbanks)
            form = _FORMATS[options.format]
            exchange = await Exchange.open(components, options, form, reservation)
            session = exchange.session
            await _run(socket, limit, exchange)
            await _send(socket, limit, json.dumps({"done": True, **exchange.numbers}))
        await socket.close()
    except WebSocketDisconnect as disconnect:
        code, left = disconnect.code, True
    except Exception as error:  # the client gets the detail of its problem
        code = close_code_of(error)
        if isinstance(error, Overloaded):
            noted["refused"] = error.reason
            components.metrics.observe_refused(error.reason, key)
        noted["broken_off"] = await _close(socket, error, code)
    finally:
        components.metrics.observe_stream(_shown(code) if left else code, key)
        logger.info(
            "stream",
            extra={
                "client": socket.client.host if socket.client else None,
                "key": key,
                "code": code,
                "frames": session.frames if session else 0,
                "samples": session.samples if session else 0,
                "seconds": round(time.monotonic() - began, 4),
                **noted,
            },
        )


def _shown(code: int) -> int:
    """The metrics' code for a stream whose client left; `observe_stream` says why not its own."""
    return code if code == _TOO_LARGE else 1006


async def _run(socket: WebSocket, limit: float, exchange: Exchange) -> None:
    """Read frames until the end; send their audio, and warnings as soon as they are known."""
    frames: NDArray[np.float32] | None
    while True:
        message = await _receive(socket, limit)
        if isinstance(message, str):
            if parse_json(message.encode(), _MAX_PARTS) != {"end": True}:
                raise Invalid("message", message[:80], 'frames, or {"end": true}')
            frames = None
        else:
            frames = parse_frames(message, exchange.session.config)
        async for made in exchange.take(frames):
            told = json.dumps({"warnings": made}) if isinstance(made, tuple) else made
            await _send(socket, limit, told)
        if frames is None:
            break


def _read_options(text: str, filterbanks: HeldFilterbanks) -> StreamOptions:
    fields = parse_json(text.encode(), _MAX_PARTS)
    return StreamOptions.model_validate(fields, context=filterbanks)


async def _receive(socket: WebSocket, limit: float) -> str | bytes:
    """The next message; Invalid if none arrives within the limit, seconds."""
    try:
        async with asyncio.timeout(limit):
            message = await socket.receive()
    except TimeoutError:
        raise Invalid("message", f"nothing for {limit:g} s", "frames, or the end") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | None = message.get("text")
    data: bytes = message.get("bytes") or b""
    return data if text is None else text


async def _receive_text(socket: WebSocket, limit: float) -> str:
    message = await _receive(socket, limit)
    if isinstance(message, bytes):
        raise Unreadable("message", f"{len(message)} bytes", "the options first, as a JSON object")
    return message


async def _send(socket: WebSocket, limit: float, data: str | bytes) -> None:
    """Send, at the client's pace; disconnect one that reads nothing within the limit, seconds."""
    try:
        async with asyncio.timeout(limit):
            if isinstance(data, str):
                await socket.send_text(data)
            else:
                await socket.send_bytes(data)
    except TimeoutError:
        raise WebSocketDisconnect(1006) from None


async def _close(socket: WebSocket, error: Exception, code: int) -> str:
    """Close with the code and the problem's detail, cut to the size of a close frame."""
    status = status_of(error)
    if status == 500:
        logger.error("stream failed", exc_info=error)
    detail = str(problem_body(error, status)["detail"])
    reason = detail.encode()[:_MAX_REASON]
    try:
        await socket.close(code, reason.decode(errors="ignore"))
    except (RuntimeError, WebSocketDisconnect, OSError):  # the client disconnected first
        logger.debug("the client disconnected before the close frame")
    return detail
