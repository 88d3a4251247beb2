"""A real service on loopback under load: throughput, added latency, and what overload does.

    python -m benchmarks.load [--seconds N] [--lanes N] [--clips N] [--quality standard]

Arrivals are random and wait for nobody (an open loop), and latency counts from when a request was
due. The deadline of every request is four times what a lane takes for the longest clip; goodput is
audio that was answered within it, in seconds a second, and for a second of a core that the service
really got: on a machine with other work the one says less than the other. The client runs on the
same cores as the service.
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
from typing import get_args

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.client import Answer, Client
from benchmarks.process import usage
from benchmarks.server import service_process
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import Quality
from unmel.service.ops.cores import usable_cores

PRESET = "hifigan-22k"
CONFIG = PRESETS[PRESET].config
CLIP = Path(__file__).parent.parent / "examples" / "clip.wav"
# Seconds of the mixed clips and how often each comes: an utterance, mostly.
LENGTHS = {1: 2, 2: 4, 4: 4, 6: 3, 10: 2, 15: 1}
LOADS = (0.5, 0.9, 1.5, 3.0)
DEADLINE = 4.0
"""Times what a lane takes for the longest clip."""
# Requests for each lane: of two, one lane takes both and the other waits for the next.
_IN_FLIGHT = 4


@dataclass(frozen=True)
class Bench:
    """What is measured, and with what."""

    client: Client
    mels: Mels
    lanes: int
    quality: Quality
    pid: int
    """Of the service."""

    async def post(self, length: int, seed: int, due: float, **headers: str) -> Answer:
        """A clip of `length` seconds, wanted since `due`."""
        options = {"config": PRESET, "seed": seed, "quality": self.quality}
        return await self.client.post(self.mels.npy(length), options, due, **headers)


class Mels:
    """Mels of any length, as values and as npy bytes, cut from one clip said over and over."""

    def __init__(self) -> None:
        wave, _ = soundfile.read(CLIP, dtype="float32")
        mel = analyze(Engine().plans.get(CONFIG), wave)
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


def bare_seconds(bench: Bench, engine: Engine, length: int, clips: int) -> float:
    """Time that an engine without a service takes for clips, from as many threads as lanes."""

    def one(seed: int) -> None:
        mel = bench.mels.values(length)
        recipe = resolve(CONFIG.power, octaves=CONFIG.octaves, quality=bench.quality)
        engine.run([Item(mel, CONFIG, recipe, CONFIG.samples(len(mel)), seed)])

    with ThreadPoolExecutor(bench.lanes) as pool:
        began = time.monotonic()
        list(pool.map(one, range(clips)))
        return time.monotonic() - began


async def closed_loop(bench: Bench, lengths: Sequence[int]) -> float:
    """Time that a service takes for clips, `_IN_FLIGHT` for each lane always under way."""
    jobs = list(enumerate(lengths))

    async def work() -> None:
        while jobs:
            seed, length = jobs.pop()
            answer = await bench.post(length, seed, time.monotonic())
            if answer.status == 503:  # on a machine that others use too
                await asyncio.sleep(float(answer.headers["retry-after"]))
                jobs.append((seed, length))
            elif answer.status != 200:
                raise SystemExit(f"{answer.status}: {answer.body.decode(errors='replace')}")

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT * bench.lanes)))
    return time.monotonic() - began


async def throughput(bench: Bench, clips: int) -> None:
    """Clips of 10 s, turn by turn with the engine alone, so that both get the same machine."""
    engine, rates = Engine(), []
    bare_seconds(bench, engine, 1, bench.lanes)
    for _ in range(3):
        alone = bare_seconds(bench, engine, 10, clips)
        served = await closed_loop(bench, [10] * clips)
        rates.append((10 * clips / alone, 10 * clips / served))
    bare, http = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(http / bare for bare, http in rates)
    print(
        f"10 s clips at {bench.quality}, {bench.lanes} lanes: engine alone {bare:.2f} s of audio a "
        f"second, through HTTP {http:.2f}, ratio {ratio:.3f} (medians of 3)",
        flush=True,
    )


async def idle_latency(bench: Bench, requests: int) -> None:
    """What the service adds to the computing of one 5 s clip, with nothing else to do."""
    added, whole = [], []
    for seed in range(requests):
        answer = await bench.post(5, seed, time.monotonic())
        added.append(1000 * answer.seconds - timing(answer)["compute"])
        whole.append(1000 * answer.seconds)
    print(
        f"idle, 5 s clip at {bench.quality}: {statistics.median(whole):.1f} ms in all, of which "
        f"{statistics.median(added):.2f} ms are not the engine's (medians of {requests})",
        flush=True,
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


async def open_loop(bench: Bench, rate: float, seconds: float, tally: Tally) -> None:
    """Requests of mixed lengths at random moments, `rate` a second."""
    rng = random.Random(1)  # noqa: S311 - the same arrivals every time
    lengths, weights = list(LENGTHS), list(LENGTHS.values())
    tasks: list[asyncio.Task[None]] = []

    async def one(due: float, length: int, seed: int) -> None:
        deadline = str(round(1000 * tally.deadline))
        tally.add(await bench.post(length, seed, due, X_Deadline_Ms=deadline), length)
        tally.memory.append(usage(bench.pid).memory_mb)

    due = began = time.monotonic()
    while due < began + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        [length] = rng.choices(lengths, weights)
        tasks.append(asyncio.create_task(one(due, length, len(tasks))))
        due += rng.expovariate(rate)
    await asyncio.gather(*tasks)


def percentile(values: Sequence[float], share: float) -> float:
    """Of no values, nan."""
    return float(np.percentile(values, 100 * share)) if values else float("nan")


HEAD = (
    "| load | asked | served | late | refused | missed | goodput | a core | p50 s | p95 s | p99 s "
    "| refused in, ms | memory, MB |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


async def overload(bench: Bench, seconds: float) -> None:
    """The table: what is served at each multiple of what the service can do."""
    mixed = [length for length, often in LENGTHS.items() for _ in range(often)]
    random.Random(2).shuffle(mixed)  # noqa: S311 - likewise
    mean = statistics.mean(mixed)
    capacity = sum(mixed) / await closed_loop(bench, mixed)
    deadline = DEADLINE * max(mixed) * bench.lanes / capacity
    print(
        f"\nmixed clips of {mean:.1f} s on average at {bench.quality}, deadline {deadline:.1f} s: "
        f"capacity {capacity:.2f} s of audio a second, {capacity / mean:.2f} requests\n\n{HEAD}"
    )
    for load in LOADS:
        tally = Tally(deadline)
        began, before = time.monotonic(), usage(bench.pid)
        await open_loop(bench, load * capacity / mean, seconds, tally)
        elapsed, after = time.monotonic() - began, usage(bench.pid)
        served, refused = tally.latencies, tally.refused
        asked = len(served) + len(refused) + tally.missed
        ranks = " | ".join(f"{percentile(served, share):.2f}" for share in (0.5, 0.95, 0.99))
        print(
            f"| {load:g} | {asked} | {len(served)} | {tally.late} | {len(refused)} "
            f"| {tally.missed} | {tally.good / elapsed:.2f} "
            f"| {tally.good / (after.cpu_seconds - before.cpu_seconds):.2f} | {ranks} "
            f"| {1000 * percentile(refused, 0.5):.1f} "
            f"| {tally.memory[0]:.0f} to {max(tally.memory):.0f} |",
            flush=True,
        )


async def measure(bench: Bench, seconds: float, clips: int) -> None:
    """Everything, of one service."""
    try:
        await closed_loop(bench, [1] * bench.lanes)
        await throughput(bench, clips)
        await idle_latency(bench, 20)
        await overload(bench, seconds)
    finally:
        bench.client.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--lanes", type=int, default=usable_cores())
    parser.add_argument("--clips", type=int, default=48, help="of a round of the throughput")
    parser.add_argument("--quality", default="standard", choices=get_args(Quality))
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    settings = {"UNMEL_LANES": str(options.lanes), "UNMEL_WARM_PRESETS": f'["{PRESET}"]'}
    with service_process(None, **settings) as (url, process):
        bench = Bench(Client(url), Mels(), options.lanes, options.quality, process.pid)
        asyncio.run(measure(bench, options.seconds, options.clips))


if __name__ == "__main__":
    main()
