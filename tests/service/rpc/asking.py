"""How the tests of gRPC ask: Triton's own client, whole requests and streams."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc as triton

from tests.service.engines import TestEngine
from tests.service.live import Live, live

MODEL = "hifigan-22k"
KEY = "k" * 16


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def live_rpc(engine: TestEngine | None = None, **settings: Any) -> Iterator[tuple[Live, Any]]:
    """A service with both ports, and a client of gRPC's."""
    port = free_port()
    with (
        live(engine, grpc_port=port, **settings) as service,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        yield service, client


def given(values: np.ndarray, name: str = "mel", datatype: str = "FP32") -> Any:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


class Stream:
    """A call of ModelStreamInfer, and its answers as they come."""

    def __init__(self, client: Any, **how: Any) -> None:
        self._client = client
        self.answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        client.start_stream(lambda result, error: self.answers.put((result, error)), **how)

    def send(self, values: np.ndarray | None, ident: int = 1, **how: Any) -> None:
        inputs = [] if values is None else [given(values)]
        parameters = how.pop("parameters", None)
        self._client.async_stream_infer(
            how.pop("model", MODEL), inputs, sequence_id=ident, parameters=parameters, **how
        )

    def next(self) -> Any:
        """The message of the next answer."""
        result, error = self.answers.get(timeout=60)
        assert error is None, error
        return result

    def error(self) -> str:
        """What the next answer complains of."""
        result, error = self.answers.get(timeout=60)
        assert result is None, result.get_response()
        return str(error)

    def until_final(self) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """The audio of all answers up to the last one, and the parameters of each."""
        pieces, said = [], []
        while not said or not said[-1]["triton_final_response"]:
            result = self.next()
            pieces.append(result.as_numpy("audio"))
            said.append(parameters(result))
        return np.concatenate(pieces), said

    def stop(self) -> None:
        """Half-close, and wait for the end."""
        self._client.stop_stream()


def parameters(result: Any) -> dict[str, Any]:
    entries = result.get_response().parameters
    return {name: getattr(e, e.WhichOneof("parameter_choice")) for name, e in entries.items()}
