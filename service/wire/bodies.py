"""A request's body: counted while it is read, and parsed by its media type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.service.errors import SlowClient
from unmel.service.ops.limits import Reservation
from unmel.service.ops.settings import Settings
from unmel.service.wire.media import FORM, JSON
from unmel.service.wire.unpacking import coding_of, unpacked_body

# Bytes reserved for each byte of the body: for the body, its contiguous copy, and the arrays; more
# for JSON, whose "1.5," becomes an object of some tens of bytes.
_WEIGHT = 3
_JSON_WEIGHT = 12
# A form or a query has only texts: these are what JSON's null, Python's None and an empty input
# of a page become.
_NOT_GIVEN = frozenset({"", "null", "None"})

# Options may come as files too: a browser's FormData makes one of every Blob.
_MAX_FILES, _MAX_FIELDS = 32, 64
# Text of an option.
_MAX_TEXT = 2**20


@dataclass(frozen=True)
class Body:
    """A body: either `data` as a whole, or a form's files and fields by name.

    A field is None if its text says that nothing is given.
    """

    media_type: str
    data: bytes
    fields: dict[str, str | None] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def file(self, name: str) -> bytes:
        """Content of a form's file; Invalid if it is missing or empty."""
        if name not in self.files:
            text = self.fields.get(name)
            got = ", ".join(f"a file field {other[:80]!r}" for other in self.files) or "no file"
            if text is not None:
                got = f"a text field of {len(text)} characters"
            raise Invalid(name, got, f"a file field {name!r}: curl -F {name}=@FILE")
        if not self.files[name]:
            raise Unreadable(name, "an empty file", "a file with content")
        return self.files[name]

    def options(self, *files: str) -> dict[str, Any]:
        """Options of a form: its fields and files, but for the files named."""
        given = {**self.fields, **self.files}
        return {name: value for name, value in given.items() if name not in files}


def query_fields(request: Request) -> dict[str, str | None]:
    """Parse the query string.

    Returns
    -------
    Values by name, None for those that say that nothing is given.

    Raises
    ------
    Invalid
        A parameter is given twice.

    """
    fields: dict[str, str | None] = {}
    for name, value in request.query_params.multi_items():
        if name in fields:
            raise Invalid(name[:80], "two values", "one value")
        fields[name] = _given(value)
    return fields


def read_text(name: str, data: bytes) -> str | None:
    """Read an option that is a form's file, as browsers and `curl -F config=@config.json` send it.

    Parameters
    ----------
    name
        Name of the option.
    data
        Content of the file, UTF-8.

    Returns
    -------
    The text, or None if it says that nothing is given.

    Raises
    ------
    Invalid
        The content is no text, or too long.

    """
    if len(data) > _MAX_TEXT:
        raise TooLarge(name, f"a file of {len(data)} bytes", f"at most {_MAX_TEXT} bytes of text")
    try:
        return _given(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        got = f"a file of {len(data)} bytes that are not UTF-8"
        raise Invalid(name, got, "the option's text, in UTF-8") from None


def _given(text: str) -> str | None:
    """The text of an option; None if it says that nothing is given."""
    text = text.strip()
    return None if text in _NOT_GIVEN else text


def media_type_of(request: Request) -> str:
    """Media type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_body(request: Request, settings: Settings, reservation: Reservation) -> Body:
    """Read a body, packed or not, with or without a stated length, within all limits.

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
        The body is not packed as it says, or is a form that cannot be parsed.

    """
    coding_of(request)  # before a word about its length
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
            async for chunk in unpacked_body(request):
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
        parser = _Parser(
            headers,
            once(),
            max_files=_MAX_FILES,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_TEXT,
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError, LookupError) as error:
        reason = getattr(error, "message", "a form without a boundary")
        want = f"multipart/form-data with its files: at most {_MAX_FILES} of them, and "
        want += f"{_MAX_FIELDS} fields of {_MAX_TEXT} bytes"
        raise Unreadable("body", reason, want) from error
    fields: dict[str, str | None] = {}
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if name in fields or name in files:
            raise Invalid(name[:80], "two values", "one value")
        if isinstance(value, UploadFile):
            content = await value.read()
            if content or value.filename:  # a page sends neither where no file was chosen
                files[name] = content
        else:
            fields[name] = _given(value)
    await form.close()
    return Body(FORM, b"", fields, files)
