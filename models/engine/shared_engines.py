"""Engines that a process shares, one for each device, and work on all of torch's threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from unmel.models.engine.engine import Engine
from unmel.models.engine.work import Result, Work
from unmel.models.errors import Invalid

_ENGINES: dict[torch.device, Engine] = {}
_MAKING = threading.Lock()


def shared(device: str | torch.device = "cpu") -> Engine:
    """The process's engine on a device, made at its first use.

    Parameters
    ----------
    device
        `cpu`, `cuda`, or one GPU of several.

    Raises
    ------
    Invalid
        For a device of another kind, and for a GPU that torch does not find.
    """
    where = _find(device)
    with _MAKING:
        if where not in _ENGINES:
            _ENGINES[where] = Engine(where)
        return _ENGINES[where]


def _find(device: str | torch.device) -> torch.device:
    """The device, a GPU with its number; Invalid where there is none."""
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError):
        raise Invalid("device", repr(device)[:80], "cpu or cuda") from None
    if where.type == "cpu":
        return torch.device("cpu")
    if where.type != "cuda":
        raise Invalid("device", repr(str(where)), "cpu or cuda")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not found:
        raise Invalid("device", repr(str(where)), "cpu: torch finds no CUDA device")
    number = torch.cuda.current_device() if where.index is None else where.index
    if number >= found:
        raise Invalid("device", repr(str(where)), f"cuda:0 to cuda:{found - 1}")
    return torch.device("cuda", number)


def run_on_threads(engine: Engine, items: Sequence[Work]) -> list[Result]:
    """Compute work, on a CPU on as many threads as torch has; results and errors as `Engine.run`.

    An engine sets torch to one thread, for a process that is a service. Here the number is put
    back, since the process is somebody's own.

    Parameters
    ----------
    engine
        The engine.
    items
        Reconstructions and analyses.
    """
    with _KEPT.kept() as threads:
        parts = _parts(items, threads if engine.device.type == "cpu" else 1)
        if len(parts) < 2:
            return engine.run(items)
        with ThreadPoolExecutor(len(parts), "unmel") as pool:
            done = list(pool.map(lambda part: engine.run([items[k] for k in part]), parts))
    found: dict[int, Result] = {}
    for part, made in zip(parts, done, strict=True):
        found.update(zip(part, made, strict=True))
    return [found[k] for k in range(len(items))]


def _parts(items: Sequence[Work], most: int) -> list[list[int]]:
    """Numbers of the items in parts of about the same cost, at most `most` of them."""
    parts: list[list[int]] = [[] for _ in range(max(1, min(most, len(items))))]
    costs = [0.0] * len(parts)
    for k in sorted(range(len(items)), key=lambda k: -items[k].cost):
        least = costs.index(min(costs))
        parts[least].append(k)
        costs[least] += items[k].cost
    return parts


class _KeptThreads:
    """Torch's number of threads, which is the process's, while several calls set it to one."""

    def __init__(self) -> None:
        self._lock, self._calls, self._before = threading.Lock(), 0, 1

    @contextmanager
    def kept(self) -> Iterator[int]:
        """Yield the number before all running calls, and put it back."""
        with self._lock:
            if not self._calls:
                self._before = torch.get_num_threads()
            self._calls += 1
        try:
            yield self._before
        finally:
            with self._lock:
                self._calls -= 1
                torch.set_num_threads(self._before)


_KEPT = _KeptThreads()
