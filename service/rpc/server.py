"""RpcServer: the port of gRPC, from its opening to the last answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from unmel.service.ops.keys import Keys
from unmel.service.rpc.calls import Call, Calls, only_message
from unmel.service.rpc.messages import SERVICE, config_message, metadata_message, parse_message
from unmel.service.rpc.streams import StreamCall
from unmel.service.rpc.whole import model_infer
from unmel.service.web.components import Components
from unmel.service.wire.infer_models import VERSION, describe_server, find_model

logger = logging.getLogger("unmel.rpc")

_SHORTEST_PING_MS = 500
_EXTENSIONS = ("sequence", "model_configuration")


class RpcServer:
    """The Open Inference Protocol's service on a port of its own.

    Parameters
    ----------
    components
        Components of the service, which HTTP shares.

    """

    def __init__(self, components: Components) -> None:
        self._components, self._closing = components, asyncio.Event()
        self._calls = Calls(components, Keys(components.settings.read_keys()))
        self._server: Any = None

    async def open(self) -> None:
        """Bind the port.

        Raises
        ------
        RuntimeError
            It is taken.

        """
        settings = self._components.settings
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # else two processes share a port, and neither knows
                # A client that is gone without a word is found out.
                ("grpc.keepalive_time_ms", int(1000 * settings.client_seconds)),
                # By default a client that pings more often than every five minutes loses its calls.
                ("grpc.http2.min_ping_interval_without_data_ms", _SHORTEST_PING_MS),
                ("grpc.keepalive_permit_without_calls", 1),
            )
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        logger.info("gRPC on %s:%d", host, settings.grpc_port)

    async def start(self) -> None:
        """Accept calls."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Accept no more calls, end open streams, and wait for the last answers.

        Parameters
        ----------
        grace
            Seconds after which unfinished calls are broken off.

        """
        self._closing.set()
        await self._server.stop(grace)

    def break_off(self) -> None:
        """Answer calls that are not done with the refusal of a service that ends."""
        self._calls.break_off()

    def _handlers(self) -> Any:
        calls = self._calls
        handlers = {
            name: calls.unary(f"/{SERVICE}/{name}", _answering(name, answer))
            for name, answer in self._simple().items()
        }
        handlers["ModelInfer"] = calls.unary(
            f"/{SERVICE}/ModelInfer", partial(model_infer, self._components)
        )
        handlers["ModelStreamInfer"] = calls.stream(f"/{SERVICE}/ModelStreamInfer", self._stream)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _simple(self) -> dict[str, Callable[[Any], Any]]:
        """Methods that only say something: from a message to its answer."""
        components = self._components

        def model_ready(message: Any) -> Any:
            find_model(message.name, message.version or VERSION)
            return service_pb2.ModelReadyResponse(ready=components.ready)

        return {
            "ServerLive": lambda _: service_pb2.ServerLiveResponse(live=components.alive),
            "ServerReady": lambda _: service_pb2.ServerReadyResponse(ready=components.ready),
            "ModelReady": model_ready,
            "ServerMetadata": lambda _: service_pb2.ServerMetadataResponse(
                **describe_server(*_EXTENSIONS)
            ),
            "ModelMetadata": lambda m: metadata_message(find_model(m.name, m.version or VERSION)),
            "ModelConfig": lambda m: config_message(find_model(m.name, m.version or VERSION)),
        }

    async def _stream(self, call: Call, requests: AsyncIterator[bytes]) -> None:
        await StreamCall(self._components, call, self._closing).run(requests)


def _answering(method: str, answer: Callable[[Any], Any]) -> Any:
    """A function from bytes to bytes around one of messages."""

    async def work(_: Call, requests: AsyncIterator[bytes]) -> bytes:
        message = parse_message(method, await only_message(requests))
        return bytes(answer(message).SerializeToString())

    return work
