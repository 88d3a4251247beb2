"""The page at `/` and the files that it is made of: served by name, from a list, as they are."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

from service.errors import NotFound
from service.keys import STATIC

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@router.get("/")
async def page() -> Response:
    """The page."""
    return _file("index.html")


@router.get(f"{STATIC}{{name}}")
async def static(name: str) -> Response:
    """A file of the page."""
    if name not in FILES:
        raise NotFound("name", repr(name[:80]), "one of " + ", ".join(FILES))
    return _file(name)


FILES = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir())}


def _file(name: str) -> Response:
    # Asked for again each time: a new version must not run with an old one's script.
    headers = {"Cache-Control": "no-cache"}
    return Response(FILES[name], media_type=_TYPES[Path(name).suffix], headers=headers)
