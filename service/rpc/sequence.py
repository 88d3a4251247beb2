"""One stream of frames: the requests of a sequence in, audio out as it settles."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from unmel.models.errors import Invalid, TooLarge
from unmel.models.mel import MelConfig
from unmel.service.rpc.messages import FINAL, parameters_of, set_parameters, tensors_of
from unmel.service.web.components import Components
from unmel.service.web.exchange import Exchange
from unmel.service.wire.codecs import MAX_AXES
from unmel.service.wire.infer_head import own_options
from unmel.service.wire.infer_models import VERSION, find_model
from unmel.service.wire.problems import brief, close_code_of
from unmel.service.wire.requests import read_flag
from unmel.service.wire.schemas import StreamOptions
from unmel.service.wire.tensors import FLOATS

logger = logging.getLogger("unmel.streaming")

ID, START, END = "sequence_id", "sequence_start", "sequence_end"
_LONGEST_ID = 128  # characters, as Triton's
_SHAPE = "[frames, n_mels]"
# As WS /stream closes, for the log and the metrics (RFC 6455, section 7.4.1).
_NORMAL, _LEFT = 1000, 1006

Send = Callable[[Any], Awaitable[None]]


class Sequence:
    """A sequence of requests whose frames are one stream.

    Each request is computed and answered before the next one is taken, so that the call slows down
    a client that sends too fast.

    Parameters
    ----------
    components
        Components of the service.
    ident
        The client's id of the sequence.
    key
        Label of the call's key.
    send
        Sends a message to the client.
    held_up
        Seconds for which nothing was read from the client so far, because others are slow.

    """

    def __init__(
        self,
        components: Components,
        ident: int | str,
        key: str,
        send: Send,
        held_up: Callable[[], float],
    ) -> None:
        self._components, self.ident, self._send, self._key = components, ident, send, key
        self._held_up, self._over = held_up, False
        self._requests: asyncio.Queue[Any] = asyncio.Queue(1)
        self._last: Any = service_pb2.ModelInferRequest()
        self._exchange: Exchange | None = None

    async def put(self, message: Any) -> bool:
        """Hand over a request, or None for the end of the call; False if it came too late."""
        await self._requests.put(message)
        return not self._over

    def left(self) -> Iterator[Any]:
        """The requests that were handed over and not taken."""
        while not self._requests.empty():
            message = self._requests.get_nowait()
            if message is not None:
                yield message

    async def run(self) -> None:
        """Take requests until the end of the sequence.

        Raises
        ------
        Exception
            Whatever ended it before; the client was not told.

        """
        began, fault, code = time.monotonic(), None, _NORMAL
        try:
            self._components.lanes.check_admission()
            budget = self._components.budget
            with self._components.streams.acquire(), budget.reserve() as reservation:
                message = await self._next()
                model = message.model_name
                config = find_model(model, message.model_version or VERSION).config
                given = _options(message)
                options = await asyncio.to_thread(_stream_options, model, given)
                self._exchange = await Exchange.open(
                    self._components, options, "pcm_f32", reservation
                )
                while not await self._answered(message, config):
                    message = await self._next()
                    if message is not None:
                        _check_same(message, model, given)
        except BaseException as error:
            fault = type(error).__name__
            code = close_code_of(error) if isinstance(error, Exception) else _LEFT
            raise
        finally:
            self._over = True
            session = self._exchange.session if self._exchange else None
            self._components.metrics.observe_stream(code, self._key)
            logger.info(
                "stream",
                extra={
                    "sequence": self.ident,
                    "key": self._key,
                    "code": code,
                    "frames": session.frames if session else 0,
                    "samples": session.samples if session else 0,
                    "seconds": round(time.monotonic() - began, 4),
                    **({"broken_off": fault} if fault else {}),
                },
            )

    @property
    def request(self) -> Any:
        """The request that was taken last."""
        return self._last

    async def _next(self) -> Any:
        """The next request, or None; Invalid if none comes while the client could send one."""
        left = limit = self._components.settings.client_seconds
        began, held_up = time.monotonic(), self._held_up()
        while left > limit / 50:
            try:
                async with asyncio.timeout(left):
                    message = await self._requests.get()
            except TimeoutError:
                left = limit - (time.monotonic() - began) + (self._held_up() - held_up)
            else:
                self._last = self._last if message is None else message
                return message
        raise Invalid(ID, f"nothing for {limit:g} s", f"frames, or {END}")

    async def _answered(self, message: Any, config: MelConfig) -> bool:
        """Compute and answer a request; whether it was the last."""
        assert self._exchange is not None  # noqa: S101 - it was opened with the first request
        ended = message is None or read_place(parameters_of(message.parameters)).ends
        frames = None if message is None else self._frames(message, config, ended=ended)
        if frames is not None:
            warned: tuple[str, ...] = ()
            async for made in self._exchange.take(frames):
                if isinstance(made, tuple):
                    warned = made
                else:
                    await self._answer(made, warnings=list(warned) or None)
                    warned = ()
            if warned:
                await self._answer(b"", warnings=list(warned))
        if ended:
            rest = [made async for made in self._exchange.take(None) if isinstance(made, bytes)]
            await self._answer(b"".join(rest), final=True, **self._exchange.numbers)
        return ended

    async def _answer(self, data: bytes, *, final: bool = False, **parameters: object) -> None:
        """Send audio, little-endian float32."""
        assert self._exchange is not None  # noqa: S101 - see above
        message = service_pb2.ModelStreamInferResponse()
        answer = message.infer_response
        answer.model_name, answer.model_version = self._last.model_name, VERSION
        answer.id = self._last.id
        rate = self._exchange.session.config.sample_rate
        set_parameters(answer, {"sample_rate": rate, **parameters, ID: self.ident, FINAL: final})
        answer.outputs.add(name="audio", datatype="FP32", shape=[len(data) // 4])
        answer.raw_output_contents.append(data)
        await self._send(message)

    def _frames(
        self, message: Any, config: MelConfig, *, ended: bool
    ) -> NDArray[np.float32] | None:
        """Frames `[k, K]` of a request; None where it has none, as the last one may."""
        tensors = tensors_of(message)
        if ended and not tensors:
            return None
        if [tensor.name for tensor in tensors] != ["mel"]:
            raise Invalid("inputs", f"{len(tensors)} inputs", f"one input, 'mel' {_SHAPE}")
        if any(output.name != "audio" for output in message.outputs):
            raise Invalid("outputs", "others than 'audio'", "'audio' of a sequence")
        values = tensors[0].values(FLOATS, range(2, MAX_AXES + 1), _SHAPE)
        count, width = values.shape[-2:]
        if width != config.n_mels or values.size != count * width:
            shape = "x".join(map(str, values.shape))
            raise Invalid("mel", f"shape {shape}", f"[frames, {config.n_mels}], frames first")
        size, most = 4 * values.size, self._components.settings.max_message_bytes
        if size > most:
            raise TooLarge("mel", f"{size} bytes of frames", f"at most {most} in a request")
        if not count:
            return None
        with np.errstate(over="ignore"):  # infinite values are refused
            return np.array(values.reshape(count, width), np.float32)


class Place(NamedTuple):
    """The sequence that a request is part of, and whether it is its first and its last one."""

    ident: int | str | None
    """None for a whole request."""
    starts: bool = False
    ends: bool = False


def read_place(parameters: Mapping[str, Any]) -> Place:
    """Read the parameters of a sequence; Invalid if they are none."""
    ident = parameters.get(ID) or None
    if ident is None:
        return Place(None)
    if not (
        (type(ident) is int and ident > 0) or (isinstance(ident, str) and len(ident) <= _LONGEST_ID)
    ):
        want = f"a whole number above 0, or a text of up to {_LONGEST_ID} characters"
        raise Invalid(ID, brief(ident), want)
    starts, ends = (read_flag(name, parameters.get(name)) for name in (START, END))
    return Place(ident, starts, ends)


def _check_same(message: Any, model: str, given: dict[str, Any]) -> None:
    """Raise Invalid for a later request that asks for something else than the first one."""
    if message.model_name != model:
        raise Invalid("model_name", brief(message.model_name), f"{model!r}, the sequence's")
    if _options(message) not in ({}, given):
        raise Invalid("parameters", "others", "those of the first request, or none")


def _options(message: Any) -> dict[str, Any]:
    return own_options(parameters_of(message.parameters), StreamOptions)


def _stream_options(model: str, given: dict[str, Any]) -> StreamOptions:
    return StreamOptions.model_validate({**given, "config": model, "format": "f32le"})
