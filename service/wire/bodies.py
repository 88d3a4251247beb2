"""A request's body: counted while it is read, and taken apart by its media type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.errors import SlowClient, UnsupportedMedia
from unmel.service.ops.budget import Hold
from unmel.service.ops.settings import Settings

JSON = "application/json"
FORM = "multipart/form-data"

# Bytes held for a byte of the body: the body, its copy as one piece, and what is made of it;
# of JSON, whose "1.5," is an object of some tens of bytes, more.
_WEIGHT = 3
_JSON_WEIGHT = 12


@dataclass(frozen=True)
class Body:
    """What came: either `data` as a whole, or a form's files and fields by name."""

    media_type: str
    data: bytes
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def query_fields(request: Request) -> dict[str, str]:
    """The query string's parameters; Invalid if one is given twice."""
    fields: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in fields:
            raise Invalid(name[:80], "two values", "one value")
        fields[name] = value
    return fields


def media_type_of(request: Request) -> str:
    """The body's media type without its parameters, in small letters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def refuse_coding(request: Request) -> None:
    """UnsupportedMedia for a body that is packed."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise UnsupportedMedia("Content-Encoding", repr(coding[:40]), "none: nothing is unpacked")


async def read_body(request: Request, settings: Settings, hold: Hold) -> Body:
    """The body, counted while it is read, also when its length is not said.

    Raises TooLarge as soon as it outgrows the settings' limit for its media type, Overloaded
    when all bodies together do, and SlowClient when it has not come in time.
    """
    refuse_coding(request)
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
                hold.set(weight * len(data))
    except TimeoutError:
        raise SlowClient(f"The body did not come within {settings.client_seconds:g} s.") from None
    if media_type == FORM:
        # On a loop of its own: a large form takes long enough to hold up other requests.
        return await asyncio.to_thread(asyncio.run, _read_form(request.headers, bytes(data)))
    return Body(media_type, bytes(data))


class _Parser(MultiPartParser):
    """Files stay in memory, where they are counted: a container may have no disk to spill to."""

    spool_max_size = 2**40


async def _read_form(headers: Headers, data: bytes) -> Body:
    async def once() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        parser = _Parser(headers, once(), max_files=2, max_fields=64)
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
