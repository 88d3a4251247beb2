"""Ray Serve's choice of a replica: one that has the config's plan, while it has room.

A replica that has served a config has its plan. Configs are told apart by the text of their query
parameter, so that the router need not parse them.
"""

from __future__ import annotations

import hashlib
import pickle
import random
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qs

try:
    from ray.serve.request_router import FIFOMixin, RequestRouter
except ImportError:  # without the extra `cluster`; fingerprints need no Ray
    FIFOMixin, RequestRouter = type("FIFOMixin", (), {}), type("RequestRouter", (), {})

STATS_KEY = "configs"
"""Key of a replica's routing stats: the fingerprints of configs that it has served."""

_MAX_CONFIGS = 256
# Requests at a replica from which on any other replica is as good: a plan takes tens of
# milliseconds, and waiting behind so many requests takes longer.
_MAX_QUEUED = 4


def config_fingerprint(query: bytes) -> str | None:
    """Short hash of a request's config.

    Parameters
    ----------
    query
        Query string.

    Returns
    -------
    Hexadecimal digits; None if the query string has no config.

    """
    values = parse_qs(query.decode("latin-1")).get("config")
    return hashlib.sha256(values[-1].encode()).hexdigest()[:16] if values else None


class RecentConfigs:
    """Fingerprints of the configs that were served last.

    Parameters
    ----------
    max_configs
        Number of fingerprints that are kept.

    """

    def __init__(self, max_configs: int = _MAX_CONFIGS) -> None:
        self._max_configs = max_configs
        self._fingerprints: OrderedDict[str, None] = OrderedDict()

    def note(self, fingerprint: str) -> None:
        """Add a fingerprint, or move it to the end."""
        self._fingerprints[fingerprint] = None
        self._fingerprints.move_to_end(fingerprint)
        if len(self._fingerprints) > self._max_configs:
            self._fingerprints.popitem(last=False)

    @property
    def fingerprints(self) -> list[str]:
        """The latest last."""
        return list(self._fingerprints)


# Without the extra `cluster` Ray's classes are missing.
class PlanRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Offers two random replicas that have the plan and room, or else two of all.

    Of the two, Ray takes the one with fewer requests.
    """

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any | None = None
    ) -> list[list[Any]]:
        """Choose groups of replicas, the first one to be tried first.

        Parameters
        ----------
        candidate_replicas
            All replicas.
        pending_request
            The request, or None.

        """
        wanted = _fingerprint_of(pending_request)
        fit = [r for r in candidate_replicas if wanted is not None and self._fits(r, wanted)]
        return [_two(group) for group in (fit, candidate_replicas) if group]

    def _fits(self, replica: Any, fingerprint: str) -> bool:
        has_plan = fingerprint in replica.routing_stats.get(STATS_KEY, ())
        queued = self.replica_queue_len_cache.get(replica.replica_id) or 0
        return has_plan and queued < _MAX_QUEUED


def _two(replicas: list[Any]) -> list[Any]:
    return random.sample(replicas, min(2, len(replicas)))


def _fingerprint_of(request: Any | None) -> str | None:
    """Fingerprint of an HTTP request's config, from the scope that the proxy pickled."""
    if request is None or not request.args or not isinstance(request.args[0], bytes):
        return None
    scope = pickle.loads(request.args[0]).asgi_scope  # noqa: S301 - the proxy's own bytes
    return config_fingerprint(scope.get("query_string", b""))
