"""One process beside Ray with one and two replicas, on draft requests of several lengths.

Every replica and the process's lanes have one core each. Latency is one client's, throughput
eight clients'. The difference of latencies is Ray's cost per request; its gain is more cores than
one machine has.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx
import numpy as np

from benchmarks.ray_server import ray_service
from benchmarks.server import running_service
from unmel.models.mel.presets import PRESETS

PRESET = "hifigan-22k"
CLIENTS = 8
HEAD = (
    f"| on {PRESET}, draft | audio a request, s | latency, ms | of that beside computing, ms "
    f"| {CLIENTS} clients: requests/s | seconds of audio/s | p95, ms |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Timing:
    """Times of one answer."""

    whole: float
    computing: float
    """Stages by the service's own clock: decode, queue, compute, encode."""


@contextmanager
def on_ray(replicas: int, *, haproxy: bool = False) -> Iterator[str]:
    """The address of the service on a node with a core for each replica."""
    environment: dict[str, str] = {}
    options: dict[str, dict[str, str]] = {}
    if haproxy:
        environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
        options = {"request_router_config": {}}  # HAProxy chooses the replicas itself
    with ray_service((replicas,), replicas=replicas, environment=environment, **options) as service:
        yield service.url


Start = Callable[[], AbstractContextManager[str]]
ROWS: tuple[tuple[str, Start], ...] = (
    ("one process, 1 lane", lambda: running_service(UNMEL_LANES="1")),
    ("one process, 2 lanes", lambda: running_service(UNMEL_LANES="2")),
    ("Ray, 1 replica of 1 lane", lambda: on_ray(1)),
    ("Ray, 2 replicas of 1 lane", lambda: on_ray(2)),
    ("Ray behind HAProxy, 2 replicas", lambda: on_ray(2, haproxy=True)),
)


def mel(seconds: float) -> tuple[bytes, float]:
    """A mel as npy, and its seconds of audio."""
    config = PRESETS[PRESET].config
    frames = round(seconds * config.sample_rate / config.hop_length)
    values = np.random.default_rng(frames).uniform(-8.0, 0.0, (config.n_mels, frames))
    stream = io.BytesIO()
    np.save(stream, values.astype(np.float32))
    return stream.getvalue(), config.samples(frames) / config.sample_rate


def ask(client: httpx.Client, body: bytes, seed: int) -> Timing:
    """Post once; SystemExit if it is refused."""
    began = time.perf_counter()
    answer = client.post(
        "/reconstruct",
        params={"config": PRESET, "quality": "draft", "seed": seed},
        content=body,
        headers={"Content-Type": "application/x-npy"},
    )
    whole = time.perf_counter() - began
    if answer.status_code != 200:
        raise SystemExit(f"{answer.status_code} {answer.text}")
    stages = (part.split(";dur=")[1] for part in answer.headers["Server-Timing"].split(", "))
    return Timing(whole, sum(map(float, stages)) / 1000)


def measure(url: str, seconds: float, budget: float) -> str:
    """The cells of a row; each measurement takes `budget` seconds."""
    body, audio = mel(seconds)
    seeds = itertools.count()
    limits = httpx.Limits(max_keepalive_connections=CLIENTS)
    with httpx.Client(base_url=url, timeout=120, limits=limits) as client:

        def for_a_while(_: int) -> list[Timing]:
            until = time.perf_counter() + budget
            timings = [ask(client, body, next(seeds))]
            while time.perf_counter() < until:
                timings.append(ask(client, body, next(seeds)))
            return timings

        for _ in range(4):  # connections, plans, routing stats
            ask(client, body, next(seeds))
        alone = for_a_while(0)
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            crowd = [t for each in pool.map(for_a_while, range(CLIENTS)) for t in each]
        rate = len(crowd) / (time.perf_counter() - began)
    latency = statistics.median(t.whole for t in alone)
    beside = statistics.median(t.whole - t.computing for t in alone)
    p95 = sorted(t.whole for t in crowd)[int(0.95 * len(crowd))]
    return (
        f"| {audio:.1f} | {1000 * latency:.0f} | {1000 * beside:.1f} | {rate:.1f} "
        f"| {rate * audio:.1f} | {1000 * p95:.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio", type=float, nargs="+", default=[0.5, 2.0, 8.0])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each measurement")
    arguments = parser.parse_args()
    print(HEAD)
    for name, start in ROWS:
        if arguments.only not in name:
            continue
        with start() as url:
            for seconds in arguments.audio:
                print(f"| {name} {measure(url, seconds, arguments.seconds)}", flush=True)


if __name__ == "__main__":
    main()
