"""A request's body: counted while it is read, and parsed by its media type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.errors import SlowClient, UnsupportedMedia
from unmel.service.ops.limits import Reservation
from unmel.service.ops.settings import Settings
from unmel.service.wire.media import FORM, JSON

# Bytes reserved for each byte of the body: for the body, its contiguous copy, and the arrays; more
# for JSON, whose "1.5," becomes an object of some tens of bytes.
_WEIGHT = 3
_JSON_WEIGHT = 12


@dataclass(frozen=True)
class Body:
    """A body: either `data` as a whole, or a form's files and fields by name."""

    media_type: str
    data: bytes
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def file(self, name: str) -> bytes:
        """Content of a form's file; Invalid if it is missing or empty."""
        if name not in self.files:
            got = ", ".join(f"a file field {other[:80]!r}" for other in self.files) or "no file"
            raise Invalid(name, got, f"a file field {name!r}")
        if not self.files[name]:
            raise Unreadable(name, "an empty file", "a file with content")
        return self.files[name]


def query_fields(request: Request) -> dict[str, str]:
    """Parse the query string.

    Returns
    -------
    Values by name.

    Raises
    ------
    Invalid
        A parameter is given twice.

    """
    fields: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in fields:
            raise Invalid(name[:80], "two values", "one value")
        fields[name] = value
    return fields


def media_type_of(request: Request) -> str:
    """Media type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def check_encoding(request: Request) -> None:
    """Raise UnsupportedMedia for a compressed body."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise UnsupportedMedia(
            "Content-Encoding", repr(coding[:40]), "none: compressed bodies are not supported"
        )


async def read_body(request: Request, settings: Settings, reservation: Reservation) -> Body:
    """Read a body, with or without a stated length, within all limits.

    Parameters
    ----------
    request
        Request whose body was not read.
    settings
        Limits of size and time.
    reservation
        Memory of the request; it grows with the body.

    Raises
    ------
    TooLarge
        The body exceeds the limit of its media type.
    Overloaded
        All bodies together exceed their limit.
    SlowClient
        The body did not arrive in time.
    Invalid
        The body is compressed, or a form that cannot be parsed.

    """
    check_encoding(request)
    media_type = media_type_of(request)
    max_bytes, weight = settings.max_body_bytes, _WEIGHT
    if media_type == JSON:
        max_bytes, weight = min(max_bytes, settings.max_json_bytes), _JSON_WEIGHT
    want = f"at most {max_bytes} bytes of {media_type or 'body'}"[:120]
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and (len(stated) > 18 or int(stated) > max_bytes):
        raise TooLarge("body", f"{stated[:20]} bytes", want)
    data = bytearray()
    try:
        async with asyncio.timeout(settings.client_seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > max_bytes:
                    raise TooLarge("body", f"more than {max_bytes} bytes", want)
                reservation.resize(weight * len(data))
    except TimeoutError:
        raise SlowClient(f"The body did not arrive within {settings.client_seconds:g} s.") from None
    if media_type == FORM:
        # In its own event loop on a thread: a large form would block other requests.
        return await asyncio.to_thread(asyncio.run, _read_form(request.headers, bytes(data)))
    return Body(media_type, bytes(data))


class _Parser(MultiPartParser):
    """Keeps files in memory, where they are counted: a container may have no disk for them."""

    spool_max_size = 2**40


async def _read_form(headers: Headers, data: bytes) -> Body:
    async def once() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        parser = _Parser(headers, once(), max_files=3, max_fields=64)
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError, LookupError) as error:
        reason = getattr(error, "message", "a form without a boundary")
        raise Unreadable("body", reason, "multipart/form-data with its files") from error
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if name in fields or name in files:
            raise Invalid(name[:80], "two values", "one value")
        if isinstance(value, UploadFile):
            files[name] = await value.read()
        else:
            fields[name] = value
    await form.close()
    return Body(FORM, b"", fields, files)
