"""A call of ModelStreamInfer: whole requests and sequences, each answered when it is done."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any

from tritonclient.grpc import service_pb2

from unmel.models.errors import Invalid
from unmel.service.errors import Overloaded, SlowClient
from unmel.service.queue.lanes import RESTART_SECONDS
from unmel.service.rpc.calls import Call
from unmel.service.rpc.messages import (
    FINAL,
    error_message,
    parameters_of,
    parse_message,
    set_parameters,
)
from unmel.service.rpc.sequence import ID, START, Place, Sequence, read_place
from unmel.service.rpc.whole import infer, parse_reserved
from unmel.service.web.components import Components
from unmel.service.wire.infer import MAX_BATCH
from unmel.service.wire.problems import grpc_code_of, logged_problem, retry_seconds

# A request of frames is at most so many times UNMEL_MAX_MESSAGE_BYTES: FP64, and what is around it.
_FRAMES_WEIGHT = 3


class StreamCall:
    """One call, from its first request to the client's end or the service's.

    Parameters
    ----------
    components
        Components of the service.
    call
        The call.
    closing
        Set when the service waits for the last answers.

    """

    def __init__(self, components: Components, call: Call, closing: asyncio.Event) -> None:
        self._components, self._call, self._closing = components, call, closing
        self._sequences: dict[int | str, Sequence] = {}
        """Open ones, by id."""
        self._running: dict[int | str, asyncio.Task[None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._held_up, self._held_since = 0.0, math.inf
        self._one_at_a_time = asyncio.Lock()
        self._seats = asyncio.Semaphore(MAX_BATCH)

    async def run(self, requests: AsyncIterator[bytes]) -> None:
        """Answer requests until the client half-closes; then open sequences end.

        When the service closes, open sequences are broken off, and whole requests still answered.

        Raises
        ------
        SlowClient
            The client reads nothing.

        """
        work = asyncio.create_task(self._answer_all(requests))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait((work, closing), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            for begun in (self._reading, *self._running.values()):
                if begun is not None:
                    begun.cancel()
            await work
            words = "The service is shutting down."
            await self._refuse(Overloaded("draining", words, RESTART_SECONDS))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            for task in (work, closing):
                task.cancel()
            await asyncio.gather(work, closing, return_exceptions=True)

    async def _answer_all(self, requests: AsyncIterator[bytes]) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._reading = tasks.create_task(self._read(tasks, requests))

    async def _read(self, tasks: asyncio.TaskGroup, requests: AsyncIterator[bytes]) -> None:
        async for data in requests:
            self._held_since = time.monotonic()
            await self._begin(tasks, data)
            self._held_up, self._held_since = self._seconds_held_up(), math.inf
        self._held_since = time.monotonic()
        for sequence in list(self._sequences.values()):
            await sequence.put(None)

    def _seconds_held_up(self) -> float:
        """Seconds for which no request was read, because earlier ones are not done."""
        return self._held_up + max(0.0, time.monotonic() - self._held_since)

    async def _begin(self, tasks: asyncio.TaskGroup, data: bytes) -> None:
        """Find out where a request belongs."""
        message = None
        try:
            message = await self._parsed(data)
            place = read_place(parameters_of(message.parameters))
        except Exception as error:
            await self._refuse(error, message)
            return
        if place.ident is None:
            await self._seats.acquire()
            tasks.create_task(self._whole(message, len(data)))
        else:
            await self._join(tasks, place.ident, place, message)

    async def _parsed(self, data: bytes) -> Any:
        if len(data) <= _FRAMES_WEIGHT * self._components.settings.max_message_bytes:
            # Frames are never refused for want of memory: their sequence would go on without them.
            return await asyncio.to_thread(parse_message, "ModelInfer", data)
        with self._components.budget.reserve() as reservation:
            return await parse_reserved("ModelInfer", data, reservation)

    async def _join(
        self, tasks: asyncio.TaskGroup, ident: int | str, place: Place, message: Any
    ) -> None:
        """Hand a request to its sequence."""
        sequence = self._sequences.get(ident)
        if place.starts == (sequence is not None):
            await self._refuse_place(message, ident, starts=place.starts)
            return
        if sequence is None:
            if before := self._running.get(ident):
                await asyncio.wait((before,))  # its end was said, so that it needs nothing more
            sequence = Sequence(
                *(self._components, ident, self._call.key, self._send, self._seconds_held_up)
            )
            self._sequences[ident] = sequence
            self._running[ident] = tasks.create_task(self._sequence(sequence))
        if not await sequence.put(message):
            await self._refuse_place(message, ident)
        elif place.ends and self._sequences.get(ident) is sequence:
            del self._sequences[ident]  # its id may begin another one from now on

    async def _refuse_place(self, message: Any, ident: int | str, *, starts: bool = False) -> None:
        got, state = ("true", "open already") if starts else ("nothing", "not open")
        want = "true with the first request of a sequence, and with no other"
        fault = Invalid(START, f"{got} for sequence {ident!r}, which is {state}", want)
        await self._refuse(fault, message, ident)

    async def _whole(self, message: Any, size: int) -> None:
        try:
            with self._components.budget.reserve() as reservation:
                reservation.resize(2 * size)  # the message and its arrays
                answer, _ = await infer(
                    *(self._components, self._call, reservation, message, size),
                    encode=_only_answer,
                )
                await self._write(answer)
        except SlowClient:
            raise
        except Exception as error:
            await self._refuse(error, message)
        finally:
            self._seats.release()

    async def _sequence(self, sequence: Sequence) -> None:
        """Run a sequence; what waits behind a fault gets errors of its own."""
        ident = sequence.ident
        try:
            await sequence.run()
        except SlowClient:
            raise
        except Exception as error:
            if self._sequences.get(ident) is sequence:
                del self._sequences[ident]
            left = list(sequence.left())
            await self._refuse(error, sequence.request, ident)
            for message in left:
                await self._refuse_place(message, ident)
        finally:
            del self._running[ident]

    async def _refuse(
        self, error: Exception, message: Any = None, ident: int | str | None = None
    ) -> None:
        """Say what went wrong with a request or a sequence; the call goes on."""
        if isinstance(error, Overloaded):
            self._components.metrics.observe_refused(error.reason, self._call.key)
        code, text = grpc_code_of(error), str(logged_problem(error)["detail"])
        self._call.noted["broken_off"] = text
        about = "" if ident is None else f"sequence {ident}: "
        request = service_pb2.ModelInferRequest() if message is None else message
        await self._send(
            error_message(
                f"[StatusCode.{code}] {about}{text}",
                request.model_name,
                request.id,
                **{ID: ident, "code": code, "retry_after": retry_seconds(error)},
            )
        )

    async def _send(self, message: Any) -> None:
        await self._write(message.SerializeToString())

    async def _write(self, data: bytes) -> None:
        """Send a message, at the client's pace."""
        limit = self._components.settings.client_seconds
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(limit):
                    await self._call.context.write(data)
            except TimeoutError:
                raise SlowClient(f"The client read nothing for {limit:g} s.") from None


def _only_answer(answer: Any) -> bytes:
    """An answer of ModelInfer as the only one to a request of a stream."""
    set_parameters(answer, {FINAL: True})
    message = service_pb2.ModelStreamInferResponse()
    message.infer_response.CopyFrom(answer)
    return bytes(message.SerializeToString())
