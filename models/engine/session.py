"""Session: mel frames in, samples out, while the mel is still being made."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from unmel.models.engine.engine import Engine
from unmel.models.engine.streams import Options
from unmel.models.mel.config import MelConfig

__all__ = ["Options", "Session"]


@cache
def _shared() -> Engine:
    return Engine()


class Session:
    """A stream that is computed where it is fed.

    `push` takes frames `[k, n_mels]` as the extractor hands them out (any k) and gives the samples
    that are settled now, full scale at 1, as few as none; `finish` gives the rest. Together they
    are as many as the whole mel has offline (`MelConfig.samples`), and the same bits however
    the frames were cut. Of the past it holds what the window still touches, whatever the length.
    Without an `engine` all sessions of the process share one on the CPU.
    """

    def __init__(
        self, config: MelConfig, options: Options | None = None, engine: Engine | None = None
    ) -> None:
        self._engine = engine or _shared()
        self._stream = self._engine.stream(config, options or Options())

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples that these frames settle; Invalid if they are no mel of the config, and then
        none of them was taken.
        """
        self._stream.feed(frames)
        return self._drain()

    def finish(self) -> NDArray[np.float32]:
        """The rest of the samples. More frames are refused from then on."""
        self._stream.end()
        return self._drain()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a caller should know about the frames so far."""
        return self._stream.warnings

    def _drain(self) -> NDArray[np.float32]:
        parts = [np.zeros(0, np.float32)]
        while (step := self._stream.step) is not None:
            (result,) = self._engine.run([step])
            parts.append(np.asarray(result.values, np.float32))
        return np.concatenate(parts)
