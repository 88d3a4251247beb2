"""A real service on loopback under load: throughput, added latency, and what overload does.

    python -m benchmarks.load [--seconds N] [--lanes N] [--clips N] [--deadline SECONDS]

Arrivals are random and wait for nobody (an open loop), and latency counts from when a request was
due. Goodput is audio that was answered within the deadline, in seconds a second. The client runs
on the same cores as the service.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.client import Answer, Client
from benchmarks.process import usage
from benchmarks.server import service_process
from models.engine import Engine, Item
from models.presets import PRESETS
from models.recipe import resolve

PRESET = "hifigan-22k"
CONFIG = PRESETS[PRESET].config
CLIP = Path(__file__).parent.parent / "examples" / "clip.wav"
# Seconds of the mixed clips and how often each comes: an utterance, mostly.
LENGTHS = {1: 2, 2: 4, 4: 4, 6: 3, 10: 2, 15: 1}
LOADS = (0.5, 0.9, 1.5, 3.0)


class Mels:
    """Mels of any length, as values and as npy bytes, cut from one clip said over and over."""

    def __init__(self) -> None:
        wave, _ = soundfile.read(CLIP, dtype="float32")
        mel = Engine().analyze(CONFIG, wave).values.astype(np.float32)
        self._mel = np.tile(mel, -(-30 * CONFIG.sample_rate // (CONFIG.hop_length * mel.shape[1])))
        self._npy: dict[int, bytes] = {}

    def values(self, seconds: int) -> NDArray[np.float32]:
        """`[T, K]`, as an engine takes them."""
        frames = seconds * CONFIG.sample_rate // CONFIG.hop_length
        return np.ascontiguousarray(self._mel[:, :frames].T)

    def npy(self, seconds: int) -> bytes:
        """`[K, T]`, as a client sends them."""
        if seconds not in self._npy:
            stream = io.BytesIO()
            np.save(stream, self.values(seconds).T)
            self._npy[seconds] = stream.getvalue()
        return self._npy[seconds]


# --- the engine alone, and through HTTP -----------------------------------------------------------


def bare_seconds(engine: Engine, mels: Mels, seconds: int, clips: int, lanes: int) -> float:
    """Time that an engine without a service takes for clips, from as many threads as lanes."""

    def one(seed: int) -> None:
        mel = mels.values(seconds)
        samples = CONFIG.samples(len(mel))
        engine.run([Item(mel, CONFIG, resolve(CONFIG.power), samples, seed)])

    with ThreadPoolExecutor(lanes) as pool:
        began = time.monotonic()
        list(pool.map(one, range(clips)))
        return time.monotonic() - began


async def closed_loop(client: Client, bodies: Sequence[bytes], width: int) -> float:
    """Time that a service takes for bodies, `width` always in flight."""
    jobs = list(enumerate(bodies))

    async def work() -> None:
        while jobs:
            seed, body = jobs.pop()
            answer = await client.post(body, {"config": PRESET, "seed": seed}, time.monotonic())
            if answer.status != 200:
                raise SystemExit(f"{answer.status}: {answer.body.decode(errors='replace')}")

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(width)))
    return time.monotonic() - began


async def throughput(client: Client, mels: Mels, lanes: int, clips: int) -> None:
    """Clips of 10 s at standard, turn by turn with the engine alone, so that both get the same
    machine.
    """
    engine, ratios, rates = Engine(), [], []
    bare_seconds(engine, mels, 1, lanes, lanes)
    for _ in range(3):
        alone = bare_seconds(engine, mels, 10, clips, lanes)
        served = await closed_loop(client, [mels.npy(10)] * clips, 2 * lanes)
        ratios.append(alone / served)
        rates.append((10 * clips / alone, 10 * clips / served))
    bare, http = (statistics.median(column) for column in zip(*rates, strict=True))
    print(
        f"10 s clips at standard, {lanes} lanes: engine alone {bare:.2f} s of audio a second, "
        f"through HTTP {http:.2f}, ratio {statistics.median(ratios):.3f} (median of 3)"
    )


async def idle_latency(client: Client, mels: Mels, requests: int) -> None:
    """What the service adds to the computing of one 5 s clip, with nothing else to do."""
    added, whole = [], []
    for seed in range(requests):
        options = {"config": PRESET, "seed": seed, "quality": "draft"}
        answer = await client.post(mels.npy(5), options, time.monotonic())
        added.append(1000 * answer.seconds - timing(answer)["compute"])
        whole.append(1000 * answer.seconds)
    print(
        f"idle, 5 s clip at draft: {statistics.median(whole):.1f} ms in all, of which "
        f"{statistics.median(added):.2f} ms are not the engine's (median of {requests})"
    )


def timing(answer: Answer) -> dict[str, float]:
    """An answer's Server-Timing, ms."""
    parts = answer.headers["server-timing"].split(", ")
    return {name: float(ms) for name, ms in (part.split(";dur=") for part in parts)}


# --- overload ------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of the requests of one load."""

    deadline: float
    latencies: list[float] = field(default_factory=list)
    """Of those that were served."""
    refused: list[float] = field(default_factory=list)
    """Latencies of those that were not taken on: 503."""
    missed: int = 0
    """Taken on, but not computed: 504."""
    good: float = 0.0
    """Seconds of audio that came in time."""
    late: int = 0
    memory: list[float] = field(default_factory=list)

    def add(self, answer: Answer, length: int) -> None:
        if answer.status == 503:
            self.refused.append(answer.seconds)
        elif answer.status == 504:
            self.missed += 1
        elif answer.status == 200:
            self.latencies.append(answer.seconds)
            if answer.seconds <= self.deadline:
                self.good += length
            else:
                self.late += 1
        else:
            raise SystemExit(f"{answer.status}: {answer.body.decode(errors='replace')}")


async def open_loop(
    client: Client, mels: Mels, rate: float, seconds: float, tally: Tally, pid: int
) -> None:
    """Requests of mixed lengths at random moments, `rate` a second."""
    rng = random.Random(1)  # noqa: S311 - the same arrivals every time
    lengths, weights = list(LENGTHS), list(LENGTHS.values())
    headers = {"X_Deadline_Ms": str(round(1000 * tally.deadline))}
    tasks: list[asyncio.Task[None]] = []

    async def one(due: float, length: int, seed: int) -> None:
        options = {"config": PRESET, "seed": seed}
        tally.add(await client.post(mels.npy(length), options, due, **headers), length)

    due = began = time.monotonic()
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        [length] = rng.choices(lengths, weights)
        tasks.append(asyncio.create_task(one(due, length, len(tasks))))
        if len(tasks) % 10 == 0:
            tally.memory.append(usage(pid).memory_mb)
        due += rng.expovariate(rate)
    await asyncio.gather(*tasks)


def percentile(values: Sequence[float], share: float) -> float:
    """Of no values, nan."""
    return float(np.percentile(values, 100 * share)) if values else float("nan")


HEAD = (
    "| load | asked | served | late | refused | missed | goodput | p50 s | p95 s | p99 s "
    "| refused in, ms | memory, MB |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


async def overload(
    client: Client, mels: Mels, lanes: int, pid: int, seconds: float, deadline: float
) -> None:
    """The table: what is served at each multiple of what the service can do."""
    mixed = [length for length, often in LENGTHS.items() for _ in range(often)]
    random.Random(2).shuffle(mixed)  # noqa: S311 - likewise
    mean = statistics.mean(mixed)
    bodies = [mels.npy(length) for length in mixed]
    took = await closed_loop(client, bodies, 2 * lanes)
    capacity = sum(mixed) / took
    print(
        f"\nmixed clips of {mean:.1f} s on average at standard, deadline {deadline:g} s: capacity "
        f"{capacity:.2f} s of audio a second, {capacity / mean:.2f} requests\n\n{HEAD}"
    )
    for load in LOADS:
        tally = Tally(deadline)
        began = time.monotonic()
        await open_loop(client, mels, load * capacity / mean, seconds, tally, pid)
        elapsed = time.monotonic() - began
        served, refused = tally.latencies, tally.refused
        asked = len(served) + len(refused) + tally.missed
        ranks = " | ".join(f"{percentile(served, share):.2f}" for share in (0.5, 0.95, 0.99))
        print(
            f"| {load:g} | {asked} | {len(served)} | {tally.late} | {len(refused)} "
            f"| {tally.missed} | {tally.good / elapsed:.2f} | {ranks} "
            f"| {1000 * percentile(refused, 0.5):.1f} "
            f"| {tally.memory[0]:.0f} to {max(tally.memory):.0f} |",
            flush=True,
        )


async def measure(options: argparse.Namespace, url: str, pid: int) -> None:
    """Everything, of one service."""
    client, mels = Client(url), Mels()
    try:
        await closed_loop(client, [mels.npy(1)] * options.lanes, options.lanes)
        await throughput(client, mels, options.lanes, options.clips)
        await idle_latency(client, mels, 40)
        await overload(client, mels, options.lanes, pid, options.seconds, options.deadline)
    finally:
        client.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clips", type=int, default=16, help="of a round of the throughput")
    parser.add_argument("--deadline", type=float, default=10.0, help="of a request, seconds")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    settings = {"UNMEL_LANES": str(options.lanes), "UNMEL_WARM_PRESETS": f'["{PRESET}"]'}
    with service_process(None, **settings) as (url, process):
        asyncio.run(measure(options, url, process.pid))


if __name__ == "__main__":
    main()
