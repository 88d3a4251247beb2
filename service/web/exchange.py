"""One stream with its client, whatever protocol it comes by: frames in, audio and warnings out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from unmel.service.ops.limits import Reservation
from unmel.service.web.components import Components
from unmel.service.web.stream_session import StreamSession, session_bytes
from unmel.service.wire.requests import refuse_warnings
from unmel.service.wire.schemas import StreamOptions
from unmel.service.wire.writers import Writer, writer


class Exchange:
    """A session, the writer of its samples, and what its client was told.

    Parameters
    ----------
    session
        The stream.
    out
        Encodes its samples.
    strict
        Whether a warning before the first samples refuses the stream.

    """

    def __init__(self, session: StreamSession, out: Writer, *, strict: bool = False) -> None:
        self.session, self._out, self._strict = session, out, strict
        self._began, self._warned = time.monotonic(), 0

    @classmethod
    async def open(
        cls,
        components: Components,
        options: StreamOptions,
        format_name: str,
        reservation: Reservation,
    ) -> Exchange:
        """Begin a stream.

        Parameters
        ----------
        components
            Components of the service.
        options
            Options of the stream.
        format_name
            One of `writers.STREAMED_FORMATS`.
        reservation
            Gets the memory of the stream.

        Raises
        ------
        Overloaded
            There is not enough memory.

        """
        config = options.config
        session = await asyncio.to_thread(StreamSession, components, config, options.stream)
        max_frames = components.settings.max_message_bytes // (4 * config.n_mels) + 1
        reservation.resize(session_bytes(config, options.lookahead, max_frames))
        if config.filterbank is not None:
            components.filterbanks.hold(config.filterbank)
        out = writer(format_name, config.sample_rate, None, options.peak)
        return cls(session, out, strict=options.strict)

    async def take(
        self, frames: NDArray[np.float32] | None
    ) -> AsyncIterator[bytes | tuple[str, ...]]:
        """Add frames and compute what they settle.

        Parameters
        ----------
        frames
            `[k, K]`, or None for the end.

        Returns
        -------
        Encoded audio, and before it warnings that are new; no empty ones.

        Raises
        ------
        Invalid
            The frames are faulty, or there is a warning about a strict stream.

        """
        if frames is None:
            self.session.end()
        else:
            await self.session.feed(frames)
        if news := self.session.warnings[self._warned :]:
            self._warned += len(news)
            if self._strict and not self.session.samples:
                refuse_warnings(news)
            yield news
        async for samples in self.session.settled_samples():
            if data := self._out.add(samples):  # else they still wait in the limiter
                yield data
        if frames is None and (data := self._out.end()):
            yield data

    @property
    def numbers(self) -> dict[str, object]:
        """Summary of the stream, for its client at the end."""
        session, out = self.session, self._out
        bank = session.config.filterbank
        return {
            "samples": session.samples,
            "frames": session.frames,
            "sample_rate": session.config.sample_rate,
            "seconds": round(time.monotonic() - self._began, 4),
            "steps": session.steps,
            "queue_seconds": round(session.queue_seconds, 4),
            "compute_seconds": round(session.compute_seconds, 4),
            "limited": out.limited,
            "clipped": out.clipped,
            "warnings": [*session.warnings, *out.warnings],
            **({} if bank is None else {"filterbank": bank.digest}),
        }
