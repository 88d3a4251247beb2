"""The page at `/` and its files, which browsers revalidate at each visit."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from unmel.service.ops.keys import STATIC

# Of the example; not every system and Python knows it.
mimetypes.add_type("audio/flac", ".flac")

router = APIRouter(include_in_schema=False)

_FILES = StaticFiles(directory=Path(__file__).parent / "static")


# Separate routes instead of a mount, because metrics and log name a request by its route.
@router.get("/")
async def page(request: Request) -> Response:
    """The page."""
    return await static("index.html", request)


@router.get(f"{STATIC}{{name}}")
async def static(name: str, request: Request) -> Response:
    """A file of the page."""
    answer = await _FILES.get_response(name, request.scope)
    # Revalidated each time: a new version must not run with an old script.
    answer.headers["Cache-Control"] = "no-cache"
    return answer
