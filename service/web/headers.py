"""Headers that keep a browser from doing more with an answer than it was meant for."""

from __future__ import annotations

Header = tuple[bytes, bytes]

_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)

_POLICY = b"content-security-policy"
_NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# FastAPI's page of the API loads Swagger's or Redoc's script from their network and starts it by
# a line in the page itself.
_API_PAGE = (
    b"default-src 'none'; connect-src 'self'; worker-src blob:; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    b"font-src https://fonts.gstatic.com; "
    b"img-src data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# The page takes all that it is made of, and all that it shows, from here.
_PAGE = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"media-src blob:; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_POLICIES = {"/": _PAGE, "/docs": _API_PAGE, "/redoc": _API_PAGE}


def security_headers(path: str) -> list[Header]:
    """The headers of every answer to that path."""
    return [*_ALWAYS, (_POLICY, _POLICIES.get(path, _NOTHING))]
