"""Unmel on Ray Serve: a replica is one engine with its own queue, in the same app.

`docker/serve.yaml` deploys `unmel.service.cluster.replica:app`. Only names are pickled: each
replica builds its app from its own environment.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import ray
from fastapi import FastAPI, Response
from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmel.models.errors import Invalid
from unmel.service.app import create_app
from unmel.service.cluster.gather import gather
from unmel.service.cluster.routing import STATS_KEY, RecentConfigs, config_fingerprint
from unmel.service.ops import metrics
from unmel.service.ops.settings import Settings
from unmel.service.web.components import Components, build_engine

logger = logging.getLogger("unmel.cluster")

_POLL_SECONDS = 0.05
_OTHERS_SECONDS = 5.0
_CAPTURED = frozenset({"http.response.start", "http.response.body"})


class ReplicaApp:
    """Wraps the app of one replica.

    It starts when it is warm, notes the configs of requests, and shows the metrics of all
    replicas.

    Parameters
    ----------
    app
        The app of `create_app`.

    """

    def __init__(self, app: FastAPI) -> None:
        self.app, self.recent = app, RecentConfigs()

    @property
    def components(self) -> Components:
        components: Components = self.app.state.components
        return components

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._when_warm(send))
        elif scope["type"] == "http" and scope["path"] == "/metrics":
            await self.app(scope, receive, self._of_all(scope, receive, send))
        else:
            fingerprint = config_fingerprint(scope.get("query_string", b""))
            if fingerprint is not None:
                self.recent.note(fingerprint)
            await self.app(scope, receive, send)

    def _when_warm(self, send: Send) -> Send:
        """Delay the end of start-up until the service is ready, so that Ray sends no requests."""

        async def forward(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                while not self.components.ready:
                    await asyncio.sleep(_POLL_SECONDS)
            await send(message)

        return forward

    def _of_all(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """Replace the app's metrics, if it allows access, by those of all replicas."""
        held: list[Message] = []

        async def forward(message: Message) -> None:
            if message["type"] not in _CAPTURED:
                await send(message)
                return
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                if held[0]["status"] == 200:
                    text = gather(await metrics_of_all(self))
                    answer = Response(text, media_type=metrics.CONTENT_TYPE)
                    await answer(scope, receive, send)
                else:
                    for part in held:
                        await send(part)

        return forward


def build() -> ASGIApp:
    """Build the app of a replica, with a lane for each CPU that Ray has assigned."""
    settings = Settings()
    if settings.grpc_port:  # Ray's proxy passes HTTP on, and replicas of a node share its ports
        raise Invalid("UNMEL_GRPC_PORT", str(settings.grpc_port), "0 on Ray Serve")
    engine = build_engine(settings)
    if engine.device.type == "cpu" and not settings.lanes:
        cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
        settings = settings.model_copy(update={"lanes": max(1, math.ceil(cpus))})
    return ReplicaApp(create_app(settings, engine))


class Replica:
    """Methods that Ray calls; `serve.ingress` sets `app` to the result of `build`."""

    app: ReplicaApp

    def check_health(self) -> None:
        """Raise RuntimeError if it is not ready; Ray replaces a replica that stays so."""
        if not self.app.components.ready:
            raise RuntimeError(f"not ready: {self.app.components.lanes!r}")

    def record_routing_stats(self) -> dict[str, list[str]]:
        """Stats for `routing.PlanRouter`."""
        return {STATS_KEY: self.app.recent.fingerprints}

    def metrics(self) -> tuple[str, str]:
        """Result of `metrics_of`, for `metrics_of_all`."""
        return metrics_of(self.app)


def metrics_of(app: ReplicaApp) -> tuple[str, str]:
    """Id and metrics of this replica."""
    ident = serve.get_replica_context().replica_id.unique_id
    return ident, app.components.metrics.text().decode()


async def metrics_of_all(own: ReplicaApp) -> dict[str, str]:
    """Collect the metrics of all replicas.

    Parameters
    ----------
    own
        This replica's app.

    Returns
    -------
    Metrics by replica; only this one's if the others do not answer in time.

    """
    context = serve.get_replica_context()
    handle = serve.get_deployment_handle(context.deployment, context.app_name)
    try:
        answers: list[Any] = await handle.broadcast("metrics").results_async(
            timeout_s=_OTHERS_SECONDS, return_exceptions=True
        )
    except TimeoutError:
        logger.warning("not every replica sent its metrics within %g s", _OTHERS_SECONDS)
        answers = [metrics_of(own)]
    return dict(answer for answer in answers if not isinstance(answer, BaseException))


app = serve.deployment(serve.ingress(build)(Replica), name="Unmel").bind()
