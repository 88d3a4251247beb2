"""Thread state of an engine's call: one torch thread, a stream on a GPU, no denormals on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def turn(device: torch.device) -> Iterator[None]:
    """Context of an engine's call; the caller's stream and denormals are put back.

    Parameters
    ----------
    device
        The engine's.
    """
    # On a GPU too: the host computes little for it, and a service checks mels beside it. A team of
    # torch's threads for each of the service's would take every core.
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    if device.type != "cpu":
        stream = _STREAMS.get(device)
        with torch.cuda.stream(stream) if stream is not None else nullcontext():
            yield
        return
    # A band can fall towards zero for ever; denormal arithmetic is 100 times slower, and what it
    # would keep is far below hearing.
    flushed = bool((torch.tensor([1e-40]) * 1.0 == 0).item())  # torch has no way to ask
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


class _Streams(threading.local):
    """A thread's stream on each device."""

    def __init__(self) -> None:
        self._made: dict[torch.device, torch.cuda.Stream] = {}

    def get(self, device: torch.device) -> torch.cuda.Stream | None:
        """The stream; None where torch finds no GPU, as on a pretended one."""
        if device not in self._made and torch.cuda.is_available():
            self._made[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch's own
        return self._made.get(device)


_STREAMS = _Streams()
