"""How long things take: one thread's seconds, the floor of two transforms, lanes, start-up.

Seconds of one thread are the processor's, which a busy neighbour does not stretch as it does a
clock's; what is compared is measured in turns, and of the repeats the median counts.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
import torch

from benchmarks.server import service_process
from unmel.models.mel.config import MelConfig

Work = Callable[[], object]

_NPY = {"Content-Type": "application/x-npy"}
_FLOOR_POINTS = 2**17  # transformed at once: what the cache holds, as the engine does


def seconds(work: Work) -> float:
    """Processor seconds of the process, in which only `work` runs."""
    began = time.process_time()
    work()
    return time.process_time() - began


def in_turns(works: Sequence[Work], repeats: int) -> list[float]:
    """The median seconds of each, all of them run `repeats` times in turns."""
    taken = [[seconds(work) for work in works] for _ in range(repeats)]
    return [float(np.median(column)) for column in zip(*taken, strict=True)]


def two_transforms(config: MelConfig, frames: int, times: int) -> Work:
    """`torch.fft.rfft` and `irfft` of as many frames, `times` over, in blocks that stay in the
    cache: the unit of what `times` iterations cost. As loops call them they take a third less.
    """
    rows = max(_FLOOR_POINTS // config.n_fft, 16)
    waves = torch.rand(rows, config.n_fft)
    spectra = torch.fft.rfft(waves)
    blocks = [rows] * (frames // rows) + [frames % rows] * (frames % rows > 0)

    def run() -> None:
        for _ in range(times):
            for count in blocks:
                torch.fft.rfft(waves[:count])
                torch.fft.irfft(spectra[:count], n=config.n_fft)

    return run


def at_once(work: Work, threads: int) -> float:
    """Seconds of a clock until `threads` threads have each done the work."""
    group = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for thread in group:
        thread.start()
    for thread in group:
        thread.join()
    return time.perf_counter() - began


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes beside this one that never rest."""
    # They end with this process too, should it be killed.
    code = f"import os\nwhile os.getppid() == {os.getpid()}:\n    sum(range(10**6))"
    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def start_up(repeats: int) -> list[tuple[str, float]]:
    """What happens at a start and the seconds of a clock that it takes, the median."""
    clip = io.BytesIO()
    np.save(clip, np.full((80, 86), -5.0, np.float32))  # a second

    def python(code: str, **variables: str) -> float:
        began = time.perf_counter()
        environment = {**os.environ, **variables}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - began

    def serve(cache: str, kind: str) -> None:
        began = time.perf_counter()
        with service_process(NUMBA_CACHE_DIR=cache) as (url, _), httpx.Client(base_url=url) as ask:
            add(f"process to ready, {kind}", time.perf_counter() - began)
            taken = []
            for _ in range(100):
                began = time.perf_counter()
                ask.post("/reconstruct?config=hifigan-22k", content=clip.getvalue(), headers=_NPY)
                taken.append(time.perf_counter() - began)
            add(f"first request, {kind}", taken[0])
            add(f"hundredth request, {kind}", taken[-1])

    loops = "from unmel.models.backends.cpu.compiled import LOOPS; assert LOOPS.wait()"
    found: dict[str, list[float]] = {}

    def add(name: str, taken: float) -> None:
        found.setdefault(name, []).append(taken)

    for _ in range(repeats):
        add("import of the service", python("import unmel.service.app"))
        with tempfile.TemporaryDirectory() as cache:
            serve(cache, "empty cache")
            serve(cache, "full cache")
        with tempfile.TemporaryDirectory() as cache:
            add("loops, empty cache", python(loops, NUMBA_CACHE_DIR=cache))
            add("loops, full cache", python(loops, NUMBA_CACHE_DIR=cache))
    return [(name, float(np.median(values))) for name, values in found.items()]
