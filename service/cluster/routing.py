"""Ray Serve's choice of a replica: of those that have the config's plan, while they have room."""

from __future__ import annotations

import pickle
import random
from typing import Any

from ray.serve.request_router import FIFOMixin, RequestRouter

from unmel.service.cluster.affinity import config_mark

STATS_KEY = "configs"
"""Of a replica's routing stats: the marks of the configs that it has served."""

# Requests at a replica from which on any other is as good: to make a plan takes tens of
# milliseconds, to wait behind so many takes longer.
_ROOM = 4


# Ray's types come with the extra alone.
class PlanRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Of two at random of the replicas that have the plan and room, or else of two of all, Ray
    takes the one with fewer requests.
    """

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any | None = None
    ) -> list[list[Any]]:
        """Replicas to ask, the first group first."""
        mark = _mark_of(pending_request)
        fit = [r for r in candidate_replicas if mark is not None and self._fits(r, mark)]
        return [_two(group) for group in (fit, candidate_replicas) if group]

    def _fits(self, replica: Any, mark: str) -> bool:
        has_plan = mark in replica.routing_stats.get(STATS_KEY, ())
        return has_plan and (self.replica_queue_len_cache.get(replica.replica_id) or 0) < _ROOM


def _two(replicas: list[Any]) -> list[Any]:
    return random.sample(replicas, min(2, len(replicas)))


def _mark_of(request: Any | None) -> str | None:
    """The mark of an HTTP request's config; it comes as the proxy pickled it."""
    if request is None or not request.args or not isinstance(request.args[0], bytes):
        return None
    scope = pickle.loads(request.args[0]).asgi_scope  # noqa: S301 - the proxy's own bytes
    return config_mark(scope.get("query_string", b""))
