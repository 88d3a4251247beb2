"""The service over HTTP on the card: throughput, latency, a card that is full, few plans."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import numpy as np
import torch

from benchmarks.client import Client
from benchmarks.gpu.check import PRESET, Check, table
from benchmarks.gpu.speed import together
from benchmarks.load import Mels
from benchmarks.server import service_process
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.schedule import Quality

_IN_FLIGHT, _SECONDS, _LENGTH = (1, 16, 256), 5.0, 10
_QUALITIES: tuple[Quality, ...] = "draft", "standard"
_KINDS = "hifigan-22k", "vocos-24k", "cosyvoice2-24k", "bigvgan-44k-256"
# Bytes that are left of a card, for the service to run out of.
_LEFT = 2**30


@dataclass
class Load:
    """Answers of one load."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    def audio(self, length: int) -> float:
        """Seconds of audio a second, of clips of a length."""
        return self.statuses[200] * length / self.elapsed

    def ms(self, share: float) -> float:
        return 1000 * float(np.percentile(self.seconds, 100 * share)) if self.seconds else np.nan


async def _closed(
    url: str, mels: Mels, length: int, in_flight: int, seconds: float, quality: Quality
) -> Load:
    """As many requests in flight, each client's next one as soon as it has its answer."""
    client, load, began = Client(url), Load(), time.monotonic()
    body = mels.npy(length)

    async def one(number: int) -> None:
        while time.monotonic() < began + seconds:
            options = {"config": PRESET, "seed": number, "quality": quality}
            answer = await client.post(body, options, time.monotonic())
            load.statuses[answer.status] += 1
            if answer.status == 200:
                load.seconds.append(answer.seconds)
            else:
                await asyncio.sleep(float(answer.headers.get("retry-after", 0.1)))

    await asyncio.gather(*(one(k) for k in range(in_flight)))
    load.elapsed = time.monotonic() - began
    client.close()
    return load


def _metric(url: str, name: str) -> dict[str, float]:
    """Values of a metric by its labels."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith(name))
    return {label.removeprefix(name).strip("{}"): float(value) for label, _, value in found}


def service(check: Check) -> None:
    """What arrives of the engine's throughput, and what happens where memory is short."""
    mels, length = Mels(), 1 if check.small else _LENGTH
    seconds = 0.5 if check.small else _SECONDS
    # A service on a pretended device has no way to know of it.
    device = check.device.type if torch.cuda.is_available() and not check.small else "cpu"
    settings = {"UNMEL_DEVICE": device, "UNMEL_WARM_PRESETS": f'["{PRESET}"]'}
    engine = Engine(device, pack_bytes=8 * 2**30)

    def rows(url: str) -> Iterator[str]:
        asyncio.run(_closed(url, mels, length, 2, seconds / 3, "draft"))
        for quality in _QUALITIES:
            items = check.items(2 if check.small else 32, quality=quality)
            audio = sum(item.audio_seconds for item in items)
            together(check, engine, items, 2)
            own = audio / together(check, engine, items, 2)
            for in_flight in _IN_FLIGHT[: 2 if check.small else None]:
                load = asyncio.run(_closed(url, mels, length, in_flight, seconds, quality))
                rate, heard = load.statuses[200] / load.elapsed, load.audio(length)
                yield (
                    f"| {quality} | {in_flight} | {rate:.1f} | {heard:,.0f} | {heard / own:.2f} "
                    f"| {load.ms(0.5):.1f} | {load.ms(0.99):.1f} | {_counts(load)} |"
                )

    with service_process(None, **settings) as (url, _):
        table(
            "| quality | in flight | requests a second | x real time | of the engine's | p50 ms "
            "| p99 ms | answers |",
            rows(url),
        )
        print(f"\nbytes of the device: {_metric(url, 'unmel_device_memory_bytes')}\n")
        engine.free_memory()
    if device == "cuda":
        print(_full(settings, mels), flush=True)
    print(_few_plans(settings))


def _counts(load: Load) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(load.statuses.items()))


def _full(settings: dict[str, str], mels: Mels) -> str:
    """Requests while something else holds nearly all of the card, and after it has gone."""
    log: list[str] = []
    with service_process(log, **settings, UNMEL_PACK_MB="16384") as (url, _):
        asyncio.run(_closed(url, mels, 1, 2, 0.5, "draft"))
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        held = torch.empty(max(free - _LEFT, 0), dtype=torch.uint8, device="cuda")
        full = asyncio.run(_closed(url, mels, 30, 128, 4.0, "standard"))
        del held
        torch.cuda.empty_cache()
        after = asyncio.run(_closed(url, mels, 10, 16, 1.0, "standard"))
        ready = httpx.get(f"{url}/readyz").status_code
    split = [line for line in log if "is split" in line]
    return (
        f"{_LEFT / 2**30:.1f} GiB left of the card, 128 requests of 30 s in flight: "
        f"{_counts(full)}, {len(split)} packs ran out of memory and were split; "
        f"with it free again: {_counts(after)}, readyz {ready}"
    )


def _few_plans(settings: dict[str, str]) -> str:
    """Presets in turns where the cache holds few plans."""
    small = settings | {"UNMEL_PLAN_CACHE_MB": "1", "UNMEL_WARM_PRESETS": "[]"}
    answers = []
    with service_process(None, **small) as (url, _), httpx.Client(base_url=url, timeout=60) as http:
        for name in _KINDS * 2:
            mel = np.random.default_rng(0).normal(-4.0, 1.0, (PRESETS[name].config.n_mels, 60))
            body = io.BytesIO()
            np.save(body, mel.astype(np.float32))
            posted = http.post(
                "/reconstruct",
                params={"config": name},
                content=body.getvalue(),
                headers={"content-type": "application/x-npy"},
            )
            answers.append(posted.status_code)
        found = _metric(url, "unmel_plan_cache")
    return f"{len(_KINDS)} presets twice with 1 MiB for plans: {answers}; {found}"
