"""What the service refuses or fails to do for reasons of its own (the domain's are in models)."""

from __future__ import annotations

from typing import Literal

from unmel.models.errors import Invalid

Reason = Literal["queue", "deadline", "lanes", "draining", "memory", "streams"]
"""Why a request is refused that another time would be taken: the metric's label."""


class UnsupportedMedia(Invalid):
    """A body of a media type that the route does not read."""


class NotAcceptable(Invalid):
    """No form of the answer that the client would take."""


class NotFound(Invalid):
    """A name in the path that nothing has."""


class Unauthorized(Exception):
    """No key, or one that the service does not know."""

    def __init__(self, *, given: bool) -> None:
        self.given = given
        super().__init__("The key is not known." if given else "A key is needed.")


class Overloaded(Exception):
    """The request cannot be taken on now; `retry_after` says in how many seconds it may be.

    `estimate` is in how many seconds it would have been answered, or started, where one was made.
    """

    def __init__(
        self, reason: Reason, detail: str, retry_after: float, estimate: float | None = None
    ) -> None:
        self.reason, self.retry_after, self.estimate = reason, retry_after, estimate
        super().__init__(detail)


class DeadlineMissed(Exception):
    """The request waited until its deadline could not be met, and was not computed."""


class LaneLost(Exception):
    """The lane that was computing the request died or hung."""


class SlowClient(Exception):
    """The body did not come in the time that it is given."""
