"""Responses: encoded results, headers that describe them, and sending at the client's pace."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from fastapi import Response
from starlette.types import Receive, Scope, Send

from unmel.models.engine import Result
from unmel.models.mel import MelConfig
from unmel.service.queue.tickets import Served
from unmel.service.wire.filterbanks import HeldFilterbanks
from unmel.service.wire.formats import Encoded, encode_audio, encode_npy
from unmel.service.wire.requests import ReconstructRequest

FILTERBANK_HEADER = "X-Filterbank"
_PIECE = 2**18


class PacedResponse(Response):
    """A body sent in pieces, each after the client has read enough of the one before.

    A body sent at once would stay in the server's buffers, uncounted, until the client reads it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        body = bytes(self.body)  # a copy of nothing: it is bytes already
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def encode_result(wanted: ReconstructRequest, result: Result) -> Encoded:
    """Encode a result in the requested format.

    Parameters
    ----------
    wanted
        The request.
    result
        Its result.

    """
    values = result.values
    if wanted.format == "npy":
        return encode_npy(values)
    rate = wanted.item.config.sample_rate
    return encode_audio(np.asarray(values, np.float32), rate, wanted.format, wanted.levels)


def make_response(encoded: Encoded, warnings: Iterable[str] = ()) -> Response:
    """Make a response of an encoded result.

    Parameters
    ----------
    encoded
        Body, and values for the headers X-Gain and X-Sample-Rate.
    warnings
        Values for X-Warning, before those of the encoding.

    """
    response = PacedResponse(encoded.data, media_type=encoded.media_type)
    if encoded.gain != 1.0:
        response.headers["X-Gain"] = f"{encoded.gain:.6g}"
    if encoded.sample_rate:
        response.headers["X-Sample-Rate"] = str(encoded.sample_rate)
    add_warnings(response, (*warnings, *encoded.warnings))
    return response


def add_warnings(response: Response, warnings: Iterable[str]) -> None:
    """Add a header X-Warning for each warning."""
    for warning in warnings:
        response.headers.append("X-Warning", warning)


def keep_filterbank(response: Response, config: MelConfig, held: HeldFilterbanks) -> None:
    """Hold the filterbank of a request that is answered, and name it in the answer."""
    if config.filterbank is not None:
        held.hold(config.filterbank)
        response.headers[FILTERBANK_HEADER] = config.filterbank.digest


def describe_audio(response: Response, wanted: ReconstructRequest, served: Served) -> None:
    """Add headers about the audio and its pack.

    Parameters
    ----------
    response
        The answer.
    wanted
        The request.
    served
        Its result.

    """
    rate = wanted.item.config.sample_rate
    response.headers.setdefault("X-Sample-Rate", str(rate))
    response.headers["X-Audio-Seconds"] = f"{wanted.item.samples / rate:.6f}"
    response.headers["X-Pack-Items"] = str(served.pack_items)
