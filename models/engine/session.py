"""Session: mel frames in, samples out, while the mel is still being computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmel.models.engine.engine import Engine
from unmel.models.engine.shared_engines import shared
from unmel.models.engine.streams import Options
from unmel.models.mel.config import MelConfig

__all__ = ["Options", "Session"]


class Session:
    """A stream that is computed as it is fed.

    All samples together are as many as those of the whole mel offline (`MelConfig.samples`), with
    the same bits however the frames were cut. The memory does not grow with the stream.

    Parameters
    ----------
    config
        Config of the mel.
    options
        Quality, look-ahead and seed.
    engine
        By default one on the CPU, shared by all sessions of the process.
    """

    def __init__(
        self, config: MelConfig, options: Options | None = None, engine: Engine | None = None
    ) -> None:
        self._engine = engine or shared("cpu")
        self._stream = self._engine.stream(config, options or Options())

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append frames and return the samples that they settle.

        Parameters
        ----------
        frames
            The extractor's values `[T, n_mels]`, of any number of frames.

        Returns
        -------
        NDArray[np.float32]
            Samples, full scale at 1; possibly none.

        Raises
        ------
        Invalid
            If the frames are no mel of the config; none is appended then.
        """
        self._stream.feed(frames)
        return self._drain()

    def finish(self) -> NDArray[np.float32]:
        """End the stream and return the rest of the samples; further frames are refused."""
        self._stream.end()
        return self._drain()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the frames so far."""
        return self._stream.warnings

    def _drain(self) -> NDArray[np.float32]:
        parts = [np.zeros(0, np.float32)]
        while (step := self._stream.step) is not None:
            (result,) = self._engine.run([step])
            parts.append(np.asarray(result.values, np.float32))
        return np.concatenate(parts)
