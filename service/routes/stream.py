"""WS /stream: mel frames in, audio out, while the mel is still being made."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from unmel.models.errors import Invalid, Unreadable
from unmel.service.web.components import Parts
from unmel.service.web.stream_session import Flow, rows_of, weight
from unmel.service.wire.codecs import parse_json
from unmel.service.wire.problems import close_code_of, problem_body, status_of
from unmel.service.wire.schemas import StreamOptions
from unmel.service.wire.writers import Writer, writer

logger = logging.getLogger("unmel.streaming")

router = APIRouter()

_FORMATS = {"s16le": "pcm", "f32le": "pcm_f32"}
# Lists and objects in a first message: a config has few.
_MOST_PARTS = 5000
_LONGEST_REASON = 123  # bytes, RFC 6455, section 5.5


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Text with the options, binary frames, text with the end; binary audio comes back, and last
    text with the numbers.

    One message is read, computed and answered before the next is read, so that a client that
    sends too fast or reads too slowly is held back by its own connection.
    """
    parts: Parts = socket.app.state.parts
    await socket.accept()
    began, flow, code = time.monotonic(), None, 1000
    try:
        parts.lanes.knock()
        with parts.streams.seat(), parts.budget.hold() as hold:
            options = _read_options(await _text(socket, parts))
            config = options.config
            flow = await asyncio.to_thread(Flow, parts, config, options.stream)
            most = parts.settings.max_message_bytes // (4 * config.n_mels) + 1
            hold.set(weight(config, options.lookahead, most))
            out = writer(_FORMATS[options.format], config.sample_rate, None)
            await _run(socket, parts, flow, out)
            await _send(socket, parts, json.dumps(_numbers(flow, out, began)))
        await socket.close()
    except WebSocketDisconnect as gone:
        code = gone.code
    except Exception as error:  # whatever it is, it is said in the words of the problems
        code = close_code_of(error)
        await _close(socket, error, code)
    finally:
        logger.info(
            "stream",
            extra={
                "client": socket.client.host if socket.client else None,
                "code": code,
                "frames": flow.frames if flow else 0,
                "samples": flow.samples if flow else 0,
                "seconds": round(time.monotonic() - began, 4),
            },
        )


async def _run(socket: WebSocket, parts: Parts, flow: Flow, out: Writer) -> None:
    """Frames until the end, and what they settle."""
    ended = False
    while not ended:
        message = await _message(socket, parts)
        if isinstance(message, str):
            if parse_json(message.encode(), _MOST_PARTS) != {"end": True}:
                raise Invalid("message", message[:80], 'frames, or {"end": true}')
            flow.end()
            ended = True
        else:
            await flow.feed(rows_of(message, flow.config))
        async for samples in flow.settled():
            await _send(socket, parts, out.add(samples))


def _read_options(text: str) -> StreamOptions:
    fields = parse_json(text.encode(), _MOST_PARTS)
    return StreamOptions.model_validate(fields)


async def _message(socket: WebSocket, parts: Parts) -> str | bytes:
    """The next message; Invalid if none comes for too long."""
    limit = parts.settings.client_seconds
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


async def _text(socket: WebSocket, parts: Parts) -> str:
    message = await _message(socket, parts)
    if isinstance(message, bytes):
        raise Unreadable("message", f"{len(message)} bytes", "first the options, a JSON object")
    return message


async def _send(socket: WebSocket, parts: Parts, data: str | bytes) -> None:
    """Send when the client has taken enough of what was sent; one that takes nothing is left."""
    try:
        async with asyncio.timeout(parts.settings.client_seconds):
            if isinstance(data, str):
                await socket.send_text(data)
            else:
                await socket.send_bytes(data)
    except TimeoutError:
        raise WebSocketDisconnect(1006) from None


def _numbers(flow: Flow, out: Writer, began: float) -> dict[str, object]:
    return {
        "done": True,
        "samples": flow.samples,
        "frames": flow.frames,
        "sample_rate": flow.config.sample_rate,
        "seconds": round(time.monotonic() - began, 4),
        "steps": flow.steps,
        "queue_seconds": round(flow.queue_seconds, 4),
        "compute_seconds": round(flow.compute_seconds, 4),
        "clipped": out.clipped,
        "warnings": list(flow.warnings),
    }


async def _close(socket: WebSocket, error: Exception, code: int) -> None:
    """Close with the code and what a problem would say, as much of it as a close frame holds."""
    status = status_of(error)
    if status == 500:
        logger.error("stream failed", exc_info=error)
    reason = str(problem_body(error, status)["detail"]).encode()[:_LONGEST_REASON]
    try:
        await socket.close(code, reason.decode(errors="ignore"))
    except (RuntimeError, WebSocketDisconnect, OSError):  # the client has gone meanwhile
        logger.debug("nobody was left to be told why the stream was closed")
