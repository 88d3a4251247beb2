"""POST /reconstruct?stream=true: an answer that begins before the audio is done, to a mel that may
still be coming.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from unmel.models.mel.config import MelConfig
from unmel.service.errors import SlowClient
from unmel.service.web.components import Parts, parts_of
from unmel.service.web.disconnect import while_connected
from unmel.service.web.stream_session import Flow, rows_of, weight
from unmel.service.wire.bodies import media_type_of, query_fields, read_body, refuse_coding
from unmel.service.wire.formats import FORMATS, format_for, held_rate
from unmel.service.wire.requests import read_chunked_options, read_chunked_order
from unmel.service.wire.schemas import ChunkedOptions
from unmel.service.wire.writers import WRITTEN, Writer, writer

FRAMES = "application/x-f32le"
"""A body of frames, float32 little-endian row by row, that is read as it comes."""

# Frames of a whole mel that are given to the stream at once, and that a piece of a body may have.
_AT_ONCE, _MOST = 64, 256

Frames = AsyncIterator[NDArray[np.float32]]


async def reconstruct_chunked(request: Request) -> Response:
    """The answer to a request that wants it as it is made."""
    parts = parts_of(request)
    query = query_fields(request)
    query.pop("stream")
    if media_type_of(request) == FRAMES:
        refuse_coding(request)
        options = read_chunked_options(query)
        return ChunkedResponse(request, options, None)
    body = await read_body(request, parts.settings, request.state.hold)
    order = await asyncio.to_thread(read_chunked_order, body, query, parts.settings)
    return ChunkedResponse(request, order.options, order.mel, order.warnings)


class ChunkedResponse(Response):
    """Audio as a stream settles it. Its head goes out with the first samples: what is wrong with
    the first frames is still answered with a problem; later the answer can only be broken off.
    """

    def __init__(
        self,
        request: Request,
        options: ChunkedOptions,
        mel: NDArray[np.float32] | None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._request, self._options, self._mel = request, options, mel
        config, accept = options.config, request.headers.get("accept")
        name = options.format or format_for(accept, WRITTEN)
        samples = None if mel is None else config.samples(len(mel))
        self._writer = writer(name, config.sample_rate, samples)
        held, resampled = held_rate(name, config.sample_rate)
        super().__init__(None, media_type=FORMATS[name].media_type_at(held))
        del self.headers["content-length"]
        self.headers["X-Sample-Rate"] = str(held)
        if samples is not None:
            self.headers["X-Audio-Seconds"] = f"{samples / config.sample_rate:.6f}"
        for warning in (*warnings, *resampled):
            self.headers.append("X-Warning", warning)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts, options, hold = parts_of(self._request), self._options, self._request.state.hold
        with parts.streams.seat():
            held = 0 if self._mel is None else self._mel.nbytes
            hold.set(held + weight(options.config, options.lookahead, _MOST))
            flow = await asyncio.to_thread(Flow, parts, options.config, options.stream)
            if self._mel is None:
                await self._send(
                    _pieces(flow, _coming(self._request, options.config, parts), self._writer), send
                )
            else:
                work = self._send(_pieces(flow, _parts_of(self._mel), self._writer), send)
                await while_connected(self._request, work)

    async def _send(self, pieces: AsyncIterator[bytes], send: Send) -> None:
        begun = False
        async for piece in pieces:
            if not begun:
                begun, head = True, {"status": self.status_code, "headers": self.raw_headers}
                await send({"type": "http.response.start", **head})
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pieces(flow: Flow, source: Frames, out: Writer) -> AsyncIterator[bytes]:
    """Bytes to send, none of them empty but the last."""
    head = out.begin()
    async for frames in source:
        await flow.feed(frames)
        async for samples in flow.settled():
            if piece := head + out.add(samples):
                head = b""
                yield piece
    flow.end()
    async for samples in flow.settled():
        head += out.add(samples)
    yield head + out.end()


async def _parts_of(mel: NDArray[np.float32]) -> Frames:
    for first in range(0, len(mel), _AT_ONCE):
        yield mel[first : first + _AT_ONCE]


async def _coming(request: Request, config: MelConfig, parts: Parts) -> Frames:
    """Whole frames of the body, as they come; what was read is computed before more is."""
    rest, width, chunks = b"", 4 * config.n_mels, aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(parts.settings.client_seconds):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise SlowClient(f"No frame came for {parts.settings.client_seconds:g} s.") from None
        if chunk is None:
            break
        rest += chunk
        whole = len(rest) // width * width
        for first in range(0, whole, _MOST * width):
            yield rows_of(rest[first : min(first + _MOST * width, whole)], config)
        rest = rest[whole:]
    if rest:
        rows_of(rest, config)  # says what is wrong
