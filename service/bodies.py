"""A request's body: counted while it is read, and taken apart by its media type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from models.errors import Invalid, TooLarge, Unreadable


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


async def read_body(request: Request, max_bytes: int) -> Body:
    """The body, refused as soon as it outgrows `max_bytes`, also when its length is not said."""
    want = f"at most {max_bytes} bytes"
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > max_bytes:
        raise TooLarge("body", f"{stated} bytes", want)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise TooLarge("body", f"more than {max_bytes} bytes", want)
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        # On a loop of its own: a large form takes long enough to hold up other requests.
        return await asyncio.to_thread(asyncio.run, _read_form(request.headers, bytes(data)))
    return Body(media_type, bytes(data))


async def _read_form(headers: Headers, data: bytes) -> Body:
    async def once() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        parser = MultiPartParser(headers, once(), max_files=2, max_fields=64)
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
    return Body("multipart/form-data", b"", fields, files)
