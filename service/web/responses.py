"""What goes out: encoded values, the headers that describe them, in pieces a client can pace."""

from __future__ import annotations

import numpy as np
from fastapi import Response
from starlette.types import Receive, Scope, Send

from unmel.service.queue.tickets import Served
from unmel.service.wire.formats import Encoded, encode_audio, encode_npy
from unmel.service.wire.requests import Order

_PIECE = 2**18


class PacedResponse(Response):
    """Bytes sent piece by piece: the next one when the client has taken enough of the last.

    A body handed over as one piece would lie in the server's buffers for as long as the client
    does not read it, and nobody would know.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        body = memoryview(self.body)
        for start in range(0, len(body), _PIECE):
            piece = bytes(body[start : start + _PIECE])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def encode(order: Order, served: Served) -> Encoded:
    """The result in the format that was asked for."""
    values = served.result.values
    if order.format == "npy":
        return encode_npy(values)
    return encode_audio(
        np.asarray(values, np.float32), order.item.config.sample_rate, order.format, order.finish
    )


def answer(encoded: Encoded, warnings: tuple[str, ...] = ()) -> Response:
    """Encoded bytes as a response, with what the caller should know about them."""
    response = PacedResponse(encoded.data, media_type=encoded.media_type)
    if encoded.gain != 1.0:
        response.headers["X-Gain"] = f"{encoded.gain:.6g}"
    if encoded.sample_rate:
        response.headers["X-Sample-Rate"] = str(encoded.sample_rate)
    for warning in (*warnings, *encoded.warnings):
        response.headers.append("X-Warning", warning)
    return response


def describe(response: Response, order: Order, served: Served) -> None:
    """Say in the headers what the audio is and how it was computed."""
    rate = order.item.config.sample_rate
    response.headers.setdefault("X-Sample-Rate", str(rate))
    response.headers["X-Audio-Seconds"] = f"{order.item.samples / rate:.6f}"
    response.headers["X-Pack-Items"] = str(served.pack_items)
