"""A simulated Ray cluster on this machine with `docker/serve.yaml` on it, for tests and benchmarks.

Its nodes are processes; each has as many CPUs as it is told, whatever the machine has.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parents[1]
_START_SECONDS = 180.0


class RayService:
    """Simulated nodes with the service on them."""

    def __init__(self, cluster: Any, url: str, config: dict[str, Any]) -> None:
        self.cluster, self.url, self.config = cluster, url, config

    def add_node(self, cpus: int) -> Any:
        """Add a node with a number of CPUs."""
        return self.cluster.add_node(num_cpus=cpus)

    def kill(self, node: Any) -> None:
        """Kill a node's processes."""
        self.cluster.remove_node(node, allow_graceful=False)

    def scale(self, replicas: int) -> None:
        """Deploy again with a number of replicas, and wait for them."""
        self.config["applications"][0]["deployments"][0]["num_replicas"] = replicas
        _deploy(self.config)
        self.wait_for_replicas(replicas)

    def wait_for_replicas(self, count: int) -> None:
        """Wait until a number of replicas show their metrics."""
        end = time.monotonic() + _START_SECONDS
        while self._seen() != count:
            if time.monotonic() > end:
                raise RuntimeError(f"there are not {count} replicas; Ray's logs say why")
            time.sleep(0.2)

    def _seen(self) -> int:
        try:
            text = httpx.get(f"{self.url}/metrics", timeout=10).text
        except httpx.TransportError:
            return 0
        return text.count("unmel_queue_items{")


def deployment(replicas: int, cpus: int, **options: Any) -> dict[str, Any]:
    """`docker/serve.yaml` with a fixed number of replicas and other options."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "serve.yaml").read_text())
    [unmel] = config["applications"][0]["deployments"]
    del unmel["autoscaling_config"]
    unmel |= {"num_replicas": replicas, "ray_actor_options": {"num_cpus": cpus}, **options}
    return config


@contextmanager
def ray_service(
    nodes: tuple[int, ...],
    *,
    replicas: int,
    settings: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[RayService]:
    """The service on nodes with these numbers of CPUs; a replica has one CPU."""
    lines = (ROOT / "docker" / "ray.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    given |= {"PYTHONPATH": str(ROOT), **(settings or {}), **(environment or {})}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        with _running(nodes, deployment(replicas, 1, **options)) as service:
            yield service
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _running(nodes: tuple[int, ...], config: dict[str, Any]) -> Iterator[RayService]:
    import ray  # noqa: PLC0415 - reads the environment when imported
    from ray import serve  # noqa: PLC0415
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    port = _free_port()
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    config["proxy_location"] = "HeadOnly"  # simulated nodes share one address
    cluster = Cluster()
    try:
        for cpus in nodes:
            cluster.add_node(num_cpus=cpus, include_dashboard=False)
        ray.init(address=cluster.address, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options=config["http_options"])
        _deploy(config)
        service = RayService(cluster, f"http://127.0.0.1:{port}", config)
        service.wait_for_replicas(config["applications"][0]["deployments"][0]["num_replicas"])
        yield service
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def _deploy(config: dict[str, Any]) -> None:
    """Deploy a config as `serve deploy` does."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
