"""POST /reconstruct?stream=true: audio in chunks as it is computed.

The mel may still be arriving.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from unmel.models.mel import MelConfig
from unmel.service.errors import SlowClient
from unmel.service.web.components import components_of
from unmel.service.web.disconnect import while_connected
from unmel.service.web.pipeline import check_admission
from unmel.service.web.responses import add_warnings, keep_filterbank
from unmel.service.web.stream_session import StreamSession, parse_frames, session_bytes
from unmel.service.wire.bodies import media_type_of, query_fields, read_body
from unmel.service.wire.formats import FORMATS, format_for, supported_rate
from unmel.service.wire.media import FRAMES
from unmel.service.wire.requests import (
    ChunkedRequest,
    read_chunked_options,
    read_chunked_request,
    refuse_warnings,
)
from unmel.service.wire.schemas import ChunkedOptions
from unmel.service.wire.unpacking import coding_of, unpacked_body
from unmel.service.wire.writers import STREAMED_FORMATS, Writer, writer

# Frames of a whole mel that are added at once, and frames in a piece of a body.
_AT_ONCE, _MAX_FRAMES = 64, 256

Frames = AsyncIterator[NDArray[np.float32]]


async def reconstruct_chunked(request: Request) -> Response:
    """Answer a request with `stream=true`.

    Parameters
    ----------
    request
        A request whose body was not read; it may be a whole mel, or frames as they arrive.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty.
    Overloaded
        The deadline cannot be met, the queue is full, or memory is short.

    """
    check_admission(request)
    components = components_of(request)
    settings, filterbanks = components.settings, components.filterbanks
    query = query_fields(request)
    if media_type_of(request) == FRAMES:
        del query["stream"]
        coding_of(request)  # raises UnsupportedMedia
        return ChunkedResponse(request, read_chunked_options(query, filterbanks), None)
    body = await read_body(request, settings, request.state.reservation)
    wanted = await asyncio.to_thread(read_chunked_request, body, query, settings, filterbanks)
    return whole_mel_in_chunks(request, wanted)


def whole_mel_in_chunks(request: Request, wanted: ChunkedRequest) -> ChunkedResponse:
    """Answer a checked request for a stream of a whole mel."""
    return ChunkedResponse(request, wanted.options, wanted.mel, wanted.warnings)


class ChunkedResponse(Response):
    """Audio of a stream, sent as it is settled.

    The head is sent with the first samples, so that faulty first frames still get a problem; later
    the answer can only be broken off.

    Parameters
    ----------
    request
        The request.
    options
        Options of the stream.
    mel
        The whole mel `[T, K]`, or None for frames in the request's body.
    warnings
        Values of X-Warning.

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
        name = options.format or format_for(accept, STREAMED_FORMATS)
        samples = None if mel is None else config.samples(len(mel))
        self._writer = writer(name, config.sample_rate, samples, options.peak)
        rate, resampled = supported_rate(name, config.sample_rate)
        super().__init__(None, media_type=FORMATS[name].media_type_at(rate))
        del self.headers["content-length"]
        self.headers["X-Sample-Rate"] = str(rate)
        if samples is not None:
            self.headers["X-Audio-Seconds"] = f"{samples / config.sample_rate:.6f}"
        add_warnings(self, (*warnings, *resampled))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, mel, options = self._request, self._mel, self._options
        components, config = components_of(request), options.config
        with components.streams.acquire():
            mel_bytes = 0 if mel is None else mel.nbytes
            stream_bytes = session_bytes(config, options.lookahead, _MAX_FRAMES)
            request.state.reservation.resize(mel_bytes + stream_bytes)
            session = await asyncio.to_thread(StreamSession, components, config, options.stream)
            request.state.noted = noted = {}
            if mel is None:
                frames = _incoming_frames(request, config, components.settings.client_seconds)
                late = await self._send(session, frames, send)
            else:  # whose warnings are in the headers
                await while_connected(request, self._send(session, _split(mel), send))
                late = ()
            if late or self._writer.warnings:  # the headers are gone
                noted["warnings"] = [*late, *self._writer.warnings]

    async def _send(self, session: StreamSession, frames: Frames, send: Send) -> tuple[str, ...]:
        """Send the answer; returns warnings about frames that came after its head."""
        begun = False
        early: tuple[str, ...] = ()
        async for chunk in _encoded(session, frames, self._writer):
            if not begun:
                if self._mel is None:
                    early = session.warnings
                    if self._options.strict:
                        refuse_warnings(early)
                    add_warnings(self, early)
                held = components_of(self._request).filterbanks
                keep_filterbank(self, self._options.config, held)
                begun, head = True, {"status": self.status_code, "headers": self.raw_headers}
                await send({"type": "http.response.start", **head})
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return session.warnings[len(early) :]


async def _encoded(session: StreamSession, frames: Frames, out: Writer) -> AsyncIterator[bytes]:
    """Encoded chunks of a stream's audio; only the last one may be empty."""
    head = out.begin()
    async for rows in frames:
        await session.feed(rows)
        async for samples in session.settled_samples():
            if chunk := head + out.add(samples):
                head = b""
                yield chunk
    session.end()
    async for samples in session.settled_samples():
        head += out.add(samples)
    yield head + out.end()


async def _split(mel: NDArray[np.float32]) -> Frames:
    for first in range(0, len(mel), _AT_ONCE):
        yield mel[first : first + _AT_ONCE]


async def _incoming_frames(request: Request, config: MelConfig, limit: float) -> Frames:
    """Whole frames of a body as they arrive; SlowClient if none arrives within the limit, seconds.

    More of the body is read only after these frames are computed.
    """
    rest, width, chunks = b"", 4 * config.n_mels, aiter(unpacked_body(request))
    while True:
        try:
            async with asyncio.timeout(limit):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise SlowClient(f"No frame arrived for {limit:g} s.") from None
        if chunk is None:
            break
        rest += chunk
        whole = len(rest) // width * width
        for first in range(0, whole, _MAX_FRAMES * width):
            yield parse_frames(rest[first : min(first + _MAX_FRAMES * width, whole)], config)
        rest = rest[whole:]
    if rest:
        parse_frames(rest, config)  # raises Invalid
