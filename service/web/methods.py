"""HEAD, OPTIONS and Allow for every path, by RFC 9110: routes name GET and POST only."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "POST")
"""Methods of all routes."""


class MethodsMiddleware:
    """Answer HEAD as GET without its body, and OPTIONS with the methods of the path.

    Parameters
    ----------
    app
        The app inside.
    router
        Routes of the app.

    References
    ----------
    RFC 9110, sections 9.3.2, 9.3.7, 10.2.1 and 15.5.6.

    """

    def __init__(self, app: ASGIApp, router: Router) -> None:
        self.app, self.router = app, router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and (allowed := self._allowed(scope)):
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def send_answer(message: Message) -> None:
            if message.get("status") == 405:
                others = [pair for pair in message["headers"] if pair[0] != b"allow"]
                message["headers"] = [*others, (b"allow", self._allowed(scope).encode())]
            if is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # The server must go on to see HEAD in its own scope.
        inner = {**scope, "method": "GET"} if is_head else scope
        try:
            await self.app(inner, receive, send_answer)
        finally:
            scope["route"] = inner.get("route")  # for the log and the metrics

    def _allowed(self, scope: Scope) -> str:
        """Methods of a path, as in Allow; empty for a path that does not exist."""
        path = {name: scope.get(name, "") for name in ("path", "root_path")}
        found = {
            method
            for method in _METHODS
            if path["path"] == "*"  # the whole server
            or any(
                route.matches({"type": "http", "method": method, "headers": [], **path})[0]
                is Match.FULL
                for route in self.router.routes
            )
        }
        if "GET" in found:
            found.add("HEAD")
        return ", ".join(sorted({*found, "OPTIONS"})) if found else ""
