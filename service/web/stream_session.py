"""A stream through the lanes: frames in, samples out, one step at a time in the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unmel.models.engine import JUDGED_FRAMES
from unmel.models.errors import Invalid
from unmel.service.errors import Overloaded
from unmel.service.web.components import Components

if TYPE_CHECKING:
    from unmel.models.engine import Options
    from unmel.models.mel import MelConfig

# Number of frames that are processed on the event loop; more go to a thread.
_FEW_FRAMES = 8
# Memory of a frame's two tensors beside their values, in floats.
_FRAME_FLOATS = 768
# Pause before an accepted stream submits its step again, when the queue is full.
_RETRY_SECONDS = 0.05


class StreamSession:
    """One stream of a client.

    Only one step at a time is in the queue, so that streams and whole requests take turns.

    Parameters
    ----------
    components
        Components of the service.
    config
        Config of the mel.
    options
        Options of the stream.

    """

    def __init__(self, components: Components, config: MelConfig, options: Options) -> None:
        self._components = components
        self._stream = components.engine.stream(config, options)
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
        """Add frames.

        Parameters
        ----------
        frames
            `[k, n_mels]`.

        Raises
        ------
        Invalid
            The frames do not fit the config; none of them is added.

        """
        if len(frames) <= _FEW_FRAMES:
            self._stream.feed(frames)
        else:
            await asyncio.to_thread(self._stream.feed, frames)

    def end(self) -> None:
        """End the stream of frames."""
        self._stream.end()

    async def settled_samples(self) -> AsyncIterator[NDArray[np.float32]]:
        """Compute all steps that the frames allow; yields the samples `[k]` of each."""
        while (step := self._stream.step) is not None:
            give_up = time.monotonic() + self._components.settings.deadline_seconds
            while True:
                try:
                    served = await self._components.lanes.submit(step, give_up)
                    break
                except Overloaded as refused:
                    # An open stream is not broken off for a full queue.
                    if refused.reason != "queue" or time.monotonic() > give_up:
                        raise
                    await asyncio.sleep(_RETRY_SECONDS)
            self.steps += 1
            self.queue_seconds += served.queue_seconds
            self.compute_seconds += served.compute_seconds / served.pack_items
            yield np.asarray(served.result.values, np.float32)


def parse_frames(data: bytes, config: MelConfig) -> NDArray[np.float32]:
    """Read frames from bytes.

    Parameters
    ----------
    data
        float32, little-endian, row by row.
    config
        Config of the mel.

    Returns
    -------
    Frames `[k, n_mels]`.

    Raises
    ------
    Invalid
        The bytes are not whole frames.

    """
    width = 4 * config.n_mels
    if len(data) % width:
        raise Invalid("frames", f"{len(data)} bytes", f"a multiple of {width}: whole frames")
    return np.frombuffer(data, "<f4").reshape(-1, config.n_mels).astype(np.float32)


def session_bytes(config: MelConfig, lookahead: int, max_frames: int) -> int:
    """Bound the memory of a stream, bytes: window, frames that wait, and a filterbank.

    Parameters
    ----------
    config
        Config of the mel.
    lookahead
        Frames after a frame that its samples depend on.
    max_frames
        Largest number of frames added at once.

    """
    window = (lookahead + 2 * config.overlap) * (3 * config.n_bins + 2 * config.hop_length) * 4
    window += JUDGED_FRAMES * config.n_mels * 4
    frames = max_frames * (2 * config.n_mels + _FRAME_FLOATS) * 4
    return window + frames + config.filterbank_bytes
