"""Unmel on Ray Serve: one replica is one engine with its own queue, behind the same app.

`docker/serve.yaml` deploys `unmel.service.cluster.replica:app`. Nothing is pickled but
names: each replica builds its app from its own environment.
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

from unmel.service.app import create_app
from unmel.service.cluster.affinity import Recent, config_mark
from unmel.service.cluster.gather import gather
from unmel.service.cluster.routing import STATS_KEY
from unmel.service.ops import metrics
from unmel.service.ops.settings import Settings
from unmel.service.web.components import Parts, build_engine

logger = logging.getLogger("unmel.cluster")

_LOOK_SECONDS = 0.05
_OTHERS_SECONDS = 5.0
_CAPTURED = frozenset({"http.response.start", "http.response.body"})


class ReplicaApp:
    """Around the app of one replica: requests come when it is warm, the configs of those that
    name one are noted, and `/metrics` shows every replica's.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app, self.recent = app, Recent()

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.state.parts
        return parts

    @property
    def ready(self) -> bool:
        return self.parts.warm.is_set() and self.parts.lanes.ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._when_warm(send))
        elif scope["type"] == "http" and scope["path"] == "/metrics":
            await self.app(scope, receive, self._of_all(scope, receive, send))
        else:
            mark = config_mark(scope.get("query_string", b""))
            if mark is not None:
                self.recent.note(mark)
            await self.app(scope, receive, send)

    def _when_warm(self, send: Send) -> Send:
        """Let Ray send requests only when plans are made and lanes at work."""

        async def forward(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                while not self.ready:
                    await asyncio.sleep(_LOOK_SECONDS)
            await send(message)

        return forward

    def _of_all(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """The app says whether the caller may see metrics; then all replicas' are shown."""
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
    """The app of a replica, with a lane for each CPU that Ray has given it."""
    settings = Settings()
    engine = build_engine(settings)
    if engine.device.type == "cpu" and not settings.lanes:
        cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
        settings = settings.model_copy(update={"lanes": max(1, math.ceil(cpus))})
    return ReplicaApp(create_app(settings, engine))


class Replica:
    """What Ray asks a replica beside requests; `app` is `build`'s, by `serve.ingress`."""

    app: ReplicaApp

    def check_health(self) -> None:
        """RuntimeError if it is not ready; Ray replaces a replica that stays so."""
        if not self.app.ready:
            raise RuntimeError(f"not ready: {self.app.parts.lanes!r}")

    def record_routing_stats(self) -> dict[str, list[str]]:
        """For `routing.PlanRouter`."""
        return {STATS_KEY: self.app.recent.marks}

    def metrics(self) -> tuple[str, str]:
        """For `metrics_of_all`."""
        return metrics_of(self.app)


def metrics_of(app: ReplicaApp) -> tuple[str, str]:
    """The replica's id and what it would show Prometheus."""
    ident = serve.get_replica_context().replica_id.unique_id
    return ident, app.parts.metrics.text().decode()


async def metrics_of_all(own: ReplicaApp) -> dict[str, str]:
    """Every replica's metrics by its id; one's own alone if the others do not answer in time."""
    context = serve.get_replica_context()
    handle = serve.get_deployment_handle(context.deployment, context.app_name)
    try:
        answers: list[Any] = await handle.broadcast("metrics").results_async(
            timeout_s=_OTHERS_SECONDS, return_exceptions=True
        )
    except TimeoutError:
        logger.warning("not every replica showed its metrics in %g s", _OTHERS_SECONDS)
        answers = [metrics_of(own)]
    return dict(answer for answer in answers if not isinstance(answer, BaseException))


app = serve.deployment(serve.ingress(build)(Replica), name="Unmel").bind()
