"""A stream's way through the lanes: frames in, samples out, a step at a time in the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from unmel.models.engine.streams import Options
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.service.errors import Overloaded
from unmel.service.web.components import Parts

# Frames that are read on the event loop; more are read on a thread.
_FEW = 8
# A stream that was let in is not refused for a queue that is full: it waits and asks again.
_AGAIN_SECONDS = 0.05


class Flow:
    """One stream of a client. A step at a time is in the queue, so that streams take turns with
    each other and with whole requests.
    """

    def __init__(self, parts: Parts, config: MelConfig, options: Options) -> None:
        self._parts = parts
        self._stream = parts.engine.stream(config, options)
        self.config = config
        self.steps = 0
        self.queue_seconds = self.compute_seconds = 0.0

    @property
    def frames(self) -> int:
        return self._stream.frames

    @property
    def samples(self) -> int:
        return self._stream.samples

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._stream.warnings

    async def feed(self, frames: NDArray[np.float32]) -> None:
        """Take frames `[k, n_mels]`, or raise Invalid and take none."""
        if len(frames) <= _FEW:
            self._stream.feed(frames)
        else:
            await asyncio.to_thread(self._stream.feed, frames)

    def end(self) -> None:
        """No more frames come."""
        self._stream.end()

    async def settled(self) -> AsyncIterator[NDArray[np.float32]]:
        """What the frames that are there settle, a step's samples at a time."""
        while (step := self._stream.step) is not None:
            give_up = time.monotonic() + self._parts.settings.deadline_seconds
            while True:
                try:
                    served = await self._parts.lanes.submit(step, give_up)
                    break
                except Overloaded as refused:
                    if refused.reason != "queue" or time.monotonic() > give_up:
                        raise
                    await asyncio.sleep(_AGAIN_SECONDS)
            self.steps += 1
            self.queue_seconds += served.queue_seconds
            self.compute_seconds += served.compute_seconds / served.pack_items
            yield np.asarray(served.result.values, np.float32)


def rows_of(data: bytes, config: MelConfig) -> NDArray[np.float32]:
    """Frames `[k, n_mels]` in bytes, float32 little-endian row by row; Invalid if they are not."""
    width = 4 * config.n_mels
    if len(data) % width:
        raise Invalid("frames", f"{len(data)} bytes", f"a multiple of {width}: whole frames")
    return np.frombuffer(data, "<f4").reshape(-1, config.n_mels).astype(np.float32)


def weight(config: MelConfig, lookahead: int, most_frames: int) -> int:
    """Bytes that a stream holds at the most, for the budget: its window and frames to come."""
    window = (lookahead + 2 * config.overlap) * (3 * config.n_bins + 2 * config.hop_length) * 4
    return window + most_frames * (config.n_mels + 2 * config.n_bins) * 4
