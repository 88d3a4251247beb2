"""A soak test: minutes of load, clients that leave, bad bodies and failing lanes at once.

    python -m benchmarks.soak [--seconds 600] [--clients N]

A service with an engine that fails on demand is stopped under load. Every request that its log
shows as accepted must have been answered as logged, unless the client had left; before the signal
no connection may have ended without an answer; memory, threads and open files must not have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Coroutine

import numpy as np

from benchmarks.client import Broken, Client, Connection, post_head
from benchmarks.faulty import FAULTS
from benchmarks.process import Usage, usage
from benchmarks.server import service_process

SETTINGS = {
    "UNMEL_LANES": "2",
    "UNMEL_WARM_PRESETS": '["hifigan-22k"]',
    "UNMEL_HANG_SECONDS": "4",
    "UNMEL_CLIENT_SECONDS": "5",
}
_SAMPLE_SECONDS = 2.0
_LATER_SECONDS = 0.5
# Seconds of warm-up, in which caches and allocators grow.
_WARM_SHARE = 0.2
# Allowed growth after the warm-up, as a share and a number.
_GROWTH = (("memory_mb", 1.05, 0), ("threads", 1.0, 2), ("files", 1.0, 8))
# Percentages of the clients' requests; the rest are good ones.
_BAD, _LEAVING, _STOPPING = 8, 8, 4
# One good request in so many makes its lane fail.
_FAULT_EVERY = 40

FAULTLESS = 1000
"""First seed without a fault."""


def npy(frames: int) -> bytes:
    """A mel of a number of frames, as npy."""
    stream = io.BytesIO()
    np.save(stream, np.full((80, frames), -5.0, np.float32))
    return stream.getvalue()


def accepted(log: list[str]) -> dict[str, int]:
    """Status in the log of every accepted request, by id."""
    return {
        line["request_id"]: line["status"]
        for line in map(json.loads, log)
        if line.get("logger") == "unmel.access" and line["route"] == "/reconstruct"
    }


class Soak:
    """Clients of one service, and the outcomes of their requests."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._pid = url, pid
        self._client = Client(url)
        self._rng = random.Random(5)  # noqa: S311 - the same mixture every time
        self._bodies = {frames: npy(frames) for frames in (20, 60, 150, 400)}
        self._ids = itertools.count()
        self.answers: dict[str, int] = {}
        self.left: set[str] = set()
        """Requests whose client left."""
        self.broken: set[str] = set()
        """Requests whose connection ended without an answer after the signal to stop; the log
        lacks those that were never read.
        """
        self.unexpected: list[str] = []
        self.samples: list[Usage] = []
        self.over = False
        self._stopped = False

    async def run(self, clients: int, seconds: float, stop: Callable[[], None]) -> None:
        """Load for some seconds, then the signal to stop, under continuing load."""
        watching = asyncio.create_task(self._watch())
        workers = [asyncio.create_task(self._work()) for _ in range(clients)]
        await asyncio.sleep(seconds)
        watching.cancel()
        self._stopped = True
        stop()
        await asyncio.gather(*workers)
        self._client.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            self.samples.append(usage(self._pid))

    async def _work(self) -> None:
        """Requests one after another, until nothing listens."""
        while not self.over:
            ident = f"soak-{next(self._ids)}"
            try:
                await self._one_of_them()(ident)
            except ConnectionRefusedError:
                self.over = True
            except (Broken, OSError) as error:
                if ident in self.left:
                    continue
                self.broken.add(ident)
                if not self._stopped:
                    self.unexpected.append(f"{ident}: broken off in the midst of the load: {error}")

    def _one_of_them(self) -> Callable[[str], Coroutine[None, None, None]]:
        drawn = self._rng.randrange(100)
        for share, kind in (
            (_BAD, self._bad),
            (_LEAVING, self._leaving),
            (_STOPPING, self._stopping),
        ):
            if drawn < share:
                return kind
            drawn -= share
        return self._good

    async def _good(self, ident: str) -> None:
        """A client that waits for its answer; sometimes its lane fails."""
        seed = FAULTLESS
        if self._rng.randrange(_FAULT_EVERY) == 0:
            seed = self._rng.choice(list(FAULTS))
        body = self._rng.choice(list(self._bodies.values()))
        options = {"config": "hifigan-22k", "n_iter": 12, "seed": seed}
        began = time.monotonic()
        answer = await self._client.post(body, options, began, X_Request_ID=ident)
        await self._note(ident, answer.status)
        # A request in one pack with a fatal one gets 503 too.
        own = FAULTS[seed][1] if seed in FAULTS else 200
        if answer.status not in (own, 503):
            self.unexpected.append(f"{ident} seed {seed}: {answer.status}")

    async def _bad(self, ident: str) -> None:
        """A body that is no mel."""
        whole = self._bodies[60]
        body = self._rng.choice((b"", b"no npy", whole[:-5], whole[:40] + b"\xff" * 80, npy(0)))
        answer = await self._client.post(
            body, {"config": "hifigan-22k"}, time.monotonic(), X_Request_ID=ident
        )
        await self._note(ident, answer.status)
        if answer.status not in (400, 422, 503):
            self.unexpected.append(f"{ident} bad: {answer.status}")

    async def _leaving(self, ident: str) -> None:
        """A client that leaves while its request waits or is computed."""
        await self._partly(ident, 1.0)

    async def _stopping(self, ident: str) -> None:
        """A client that leaves within its body."""
        await self._partly(ident, self._rng.random())

    async def _partly(self, ident: str, share: float) -> None:
        body = self._bodies[400]
        options = {"config": "hifigan-22k", "n_iter": 12, "seed": FAULTLESS}
        connection = await Connection.open(self._url)
        self.left.add(ident)
        try:
            head = post_head("/reconstruct", len(body), options, X_Request_ID=ident)
            await connection.send(head, body[: int(share * len(body))])
            await asyncio.sleep(self._rng.uniform(0.0, 0.5))
        finally:
            connection.close()

    async def _note(self, ident: str, status: int) -> None:
        self.answers[ident] = status
        if status == 503:  # a refused client waits before it comes back
            await asyncio.sleep(_LATER_SECONDS)

    # --- the checks ---------------------------------------------------------------------------

    def faults(self, log: list[str], process: subprocess.Popen[str]) -> list[str]:
        """Violations, in words."""
        found = self.unexpected[:10]
        if process.returncode != 0:
            found.append(f"the service ended with {process.returncode}")
        served = accepted(log)
        for ident, status in served.items():
            if ident not in self.left and self.answers.get(ident) != status:
                got = self.answers.get(ident, "nothing")
                found.append(f"{ident}: the service answered {status}, the client got {got}")
        found += [
            f"{ident}: an answer that the log lacks" for ident in self.answers.keys() - served
        ]
        return found + self._growth()

    def _growth(self) -> list[str]:
        """Growth of resources after the warm-up, in words."""
        start = int(_WARM_SHARE * len(self.samples))
        third = max(1, (len(self.samples) - start) // 3)
        early, late = self.samples[start : start + third], self.samples[-third:]
        found = []
        for name, share, more in _GROWTH:
            before, after = (
                statistics.median(float(getattr(sample, name)) for sample in part)
                for part in (early, late)
            )
            print(f"{name}: {before:.0f} after the warm-up, {after:.0f} at the end")
            if after > share * before + more:
                found.append(f"{name} grew from {before:.0f} to {after:.0f}")
        return found


def main() -> int:
    """Soak a service; 1 for any violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=12)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    log: list[str] = []
    with service_process(log, "benchmarks.faulty", **SETTINGS) as (url, process):
        soak = Soak(url, process.pid)
        asyncio.run(
            soak.run(options.clients, options.seconds, lambda: process.send_signal(signal.SIGTERM))
        )
        process.wait(60)
    statuses = Counter(soak.answers.values())
    broken_off = soak.broken & accepted(log).keys()
    print(
        f"{len(soak.answers)} answered ({dict(sorted(statuses.items()))}), {len(soak.left)} left, "
        f"{len(broken_off)} accepted and broken off, {len(soak.broken - broken_off)} never read "
        "because the service had ended"
    )
    lines = [json.loads(line) for line in log]
    refused = Counter(line["refused"] for line in lines if "refused" in line)
    lost = Counter(line["message"].split()[1] for line in lines if line["logger"] == "unmel.lanes")
    print(f"refused: {dict(refused)}; lanes lost: {dict(lost)}")
    faults = soak.faults(log, process)
    print(*faults[:20] or ["every accepted request was answered, nothing grew"], sep="\n")
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())
