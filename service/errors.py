"""Exceptions of the service itself; those of the domain are in `unmel.models.errors`."""

from __future__ import annotations

from typing import Literal

from unmel.models.errors import Invalid

Reason = Literal["queue", "deadline", "lanes", "draining", "memory", "streams"]
"""Why a request that was valid was refused: the label of the metric."""


class UnsupportedMedia(Invalid):
    """The body has a media type that the route does not read."""


class NotAcceptable(Invalid):
    """The client accepts no format that the service offers."""


class NotFound(Invalid):
    """A name does not exist: of the path, or of what the service holds."""


class Unauthorized(Exception):
    """The key is missing or unknown.

    Parameters
    ----------
    given
        Whether the request had a key.

    """

    def __init__(self, *, given: bool) -> None:
        self.given = given
        super().__init__("The key is not valid." if given else "An API key is required.")


class Overloaded(Exception):
    """The request cannot be accepted now.

    Parameters
    ----------
    reason
        Label of the metric.
    detail
        Sentence for the client.
    retry_after
        Seconds after which the client may try again.
    estimate
        Estimated seconds until the answer, or until the start; None if there is no estimate.

    """

    def __init__(
        self, reason: Reason, detail: str, retry_after: float, estimate: float | None = None
    ) -> None:
        self.reason, self.retry_after, self.estimate = reason, retry_after, estimate
        super().__init__(detail)


class DeadlineMissed(Exception):
    """The request waited in the queue past its deadline and was not computed."""


class LaneLost(Exception):
    """The lane that computed the request died or hung."""


class BrokenOff(Exception):
    """The request failed after its answer had begun; the server closes the connection.

    The failure itself was logged.
    """


class SlowClient(Exception):
    """The body did not arrive within the time limit."""
