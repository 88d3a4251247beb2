"""ModelInfer and its neighbours by Triton's own client: the same audio, the same refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.service.asking import MEL, npy
from tests.service.engines import TestEngine
from tests.service.live import Live
from tests.service.rpc.asking import KEY, MODEL, given, live_rpc, parameters
from unmel.models.engine.engine import Engine
from unmel.models.errors import NonFiniteOutput, OutOfMemory
from unmel.service.ops.metrics import STAGES

PARAMETERS = {"n_iter": 2, "seed": 3}
METHOD = "/inference.GRPCInferenceService/ModelInfer"
LEVEL = np.full((80, 2), -5.0, np.float32)


class Computing(TestEngine):
    """Computes, at once."""

    def run(self, items: Any) -> Any:
        return Engine.run(self, items)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Live, Any]]:
    with live_rpc(Computing(), max_body_mb=1) as pair:
        yield pair


def reconstructed(service: Live, mel: np.ndarray) -> np.ndarray:
    """What `POST /reconstruct` gives for the same."""
    answer = service.client.post(
        "/reconstruct",
        params={"config": MODEL, "format": "pcm_f32", **PARAMETERS},
        content=npy(mel),
        headers={"Content-Type": "application/x-npy"},
    )
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4")


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Code and details of a call that fails."""
    with pytest.raises(InferenceServerException) as caught:
        call()
    return str(caught.value.status()).removeprefix("StatusCode."), str(caught.value.message())


def test_the_server_and_its_models_say_what_they_are(pair: tuple[Live, Any]) -> None:
    _, client = pair
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.get_server_metadata().name == "unmel"
    said = client.get_model_metadata(MODEL, as_json=True)
    assert said["inputs"][0] == {"name": "mel", "datatype": "FP32", "shape": ["80", "-1"]}
    assert [one["name"] for one in said["outputs"]] == ["audio", "samples", "errors"]
    config = client.get_model_config(MODEL).config
    assert config.model_transaction_policy.decoupled
    assert [(one.name, one.optional) for one in config.input] == [("mel", False), ("lengths", True)]


@pytest.mark.loops
def test_the_audio_is_that_of_http(pair: tuple[Live, Any]) -> None:
    service, client = pair
    answer = client.infer(MODEL, [given(MEL)], parameters=PARAMETERS, request_id="abc")
    np.testing.assert_array_equal(answer.as_numpy("audio"), reconstructed(service, MEL))
    assert parameters(answer) == {"sample_rate": 22050}
    said = answer.get_response()
    assert (said.id, said.model_name, said.model_version) == ("abc", MODEL, "1")


@pytest.mark.loops
@pytest.mark.parametrize(
    ("datatype", "field"), [("FP32", "fp32_contents"), ("FP64", "fp64_contents")]
)
def test_typed_contents_are_read_as_raw_ones_are(
    pair: tuple[Live, Any], datatype: str, field: str
) -> None:
    _, client = pair
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, value in PARAMETERS.items():
        message.parameters[name].int64_param = value
    mel = message.inputs.add(name="mel", datatype=datatype, shape=[1, *MEL.shape])
    getattr(mel.contents, field).extend(MEL.reshape(-1).tolist())
    counts = message.inputs.add(name="lengths", datatype="INT32", shape=[1])
    counts.contents.int_contents.append(MEL.shape[1])
    answer = triton.InferResult(client._client_stub.ModelInfer(message))
    raw = client.infer(MODEL, [given(MEL)], parameters=PARAMETERS)
    np.testing.assert_array_equal(answer.as_numpy("audio")[0], raw.as_numpy("audio"))


@pytest.mark.loops
@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_a_batch_of_different_lengths_refuses_only_its_bad_mel(
    pair: tuple[Live, Any], datatype: str
) -> None:
    service, client = pair
    batch = np.stack([MEL, MEL * np.float32(np.nan), MEL])
    lengths = np.array([[9], [20], [20]], {"INT32": np.int32, "INT64": np.int64}[datatype])
    answer = client.infer(
        MODEL, [given(batch), given(lengths, "lengths", datatype)], parameters=PARAMETERS
    )
    assert answer.as_numpy("samples").tolist() == [9 * 256, 0, 20 * 256]
    audio = answer.as_numpy("audio")
    np.testing.assert_array_equal(audio[0, : 9 * 256], reconstructed(service, MEL[:, :9]))
    np.testing.assert_array_equal(audio[2], reconstructed(service, MEL[:, :20]))
    errors = answer.as_numpy("errors")
    assert [bool(text) for text in errors] == [False, True, False]
    assert json.loads(errors[1])["field"] == "mel"


@pytest.mark.parametrize(
    ("model", "inputs", "options", "code", "words"),
    [
        (MODEL, [given(MEL[:79])], {}, "INVALID_ARGUMENT", "mel: got shape 79x"),
        (MODEL, [given(MEL * np.float32(np.nan))], {}, "INVALID_ARGUMENT", "nan in band 0"),
        (MODEL, [given(MEL)], {"n_iter": -1}, "INVALID_ARGUMENT", "n_iter"),
        (MODEL, [given(MEL)], {"format": "mp3"}, "INVALID_ARGUMENT", "parameters.format"),
        (MODEL, [], {}, "INVALID_ARGUMENT", "one input, 'mel'"),
        (MODEL, [given(LEVEL.repeat(40_000, 1)[:8])], {}, "RESOURCE_EXHAUSTED", "larger than max"),
        ("nothing", [given(MEL)], {}, "NOT_FOUND", "one of tacotron2-22k"),
    ],
)
def test_a_faulty_request_is_told_what_was_wrong(
    pair: tuple[Live, Any],
    model: str,
    inputs: list[Any],
    options: dict[str, Any],
    code: str,
    words: str,
) -> None:
    got, details = refused(lambda: pair[1].infer(model, inputs, parameters=options))
    assert got == code
    assert words in details


def test_bytes_that_are_no_message_are_refused(pair: tuple[Live, Any]) -> None:
    channel = pair[1]._channel
    call = channel.unary_unary(METHOD)
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "do not parse" in caught.value.details()


def test_raw_contents_for_some_inputs_only_are_refused(pair: tuple[Live, Any]) -> None:
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, datatype in (("mel", "FP32"), ("lengths", "INT32")):
        message.inputs.add(name=name, datatype=datatype, shape=[1])
    message.raw_input_contents.append(b"1234")
    with pytest.raises(grpc.RpcError) as caught:
        pair[1]._client_stub.ModelInfer(message)
    assert "1 for 2 inputs" in caught.value.details()


def test_a_fault_has_its_problem_its_id_and_a_time_to_come_back_in_the_metadata(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    with live_rpc() as (service, client):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(client._channel)
        message = service_pb2.ModelInferRequest(
            model_name=MODEL, raw_input_contents=[LEVEL.tobytes()]
        )
        message.inputs.add(name="mel", datatype="FP32", shape=LEVEL.shape)
        message.parameters["seed"].int64_param = 5
        for fault, code, status in (
            (NonFiniteOutput("nan"), "INVALID_ARGUMENT", 422),
            (OutOfMemory("2 bytes"), "RESOURCE_EXHAUSTED", 503),
            (RuntimeError("inside"), "INTERNAL", 500),
        ):
            service.engine.faults[5] = fault  # the probe has seed 0
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(message, metadata=(("x-request-id", "mine"),))
            assert caught.value.code() is grpc.StatusCode[code]
            assert "inside" not in caught.value.details()
            said = dict(caught.value.trailing_metadata())
            assert said["x-request-id"] == "mine"
            assert json.loads(said["problem"])["status"] == status
            assert ("retry-after" in said) == (status == 503)
            service.until(
                lambda s=status: service.metric("requests_total", route=METHOD, status=str(s)) == 1
            )  # type: ignore[misc]
        service.engine.faults.clear()
        _, call = stub.ModelInfer.with_call(message, metadata=(("x-request-id", "mine"),))
        service.until(lambda: service.metric("requests_total", route=METHOD, status="200") == 1)
        assert "compute;dur=" in dict(call.trailing_metadata())["server-timing"]
        service.assert_in_order()
    lines = [r for r in caplog.records if getattr(r, "route", None) == METHOD][-4:]
    assert [line.status for line in lines] == [422, 503, 500, 200]
    assert [getattr(line, "code", None) for line in lines] == [
        "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL", None,
    ]  # fmt: skip
    assert lines[0].client == "127.0.0.1"


@pytest.mark.loops
def test_a_call_is_a_span_under_its_callers_with_a_child_for_every_stage(
    pair: tuple[Live, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = pair
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.infer(MODEL, [given(LEVEL)], headers={"traceparent": caller}, parameters={"n_iter": 1})
    service.until(lambda: METHOD in {span.name for span in exporter.get_finished_spans()})
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == [*STAGES, METHOD]
    parent = spans[METHOD].parent
    assert parent is not None
    assert format(parent.trace_id, "032x") == caller[3:35]
    for stage in STAGES:
        child = spans[stage].parent
        assert child is not None
        assert child.span_id == spans[METHOD].context.span_id


def test_keys_are_those_of_http_and_probes_need_none() -> None:
    with live_rpc(api_keys=KEY) as (_, client):
        assert client.is_server_live()
        assert client.is_server_ready()
        for headers in (None, {"authorization": "Bearer " + "x" * 16}, {"authorization": KEY}):
            code, _ = refused(lambda h=headers: client.infer(MODEL, [given(LEVEL)], headers=h))  # type: ignore[misc]
            assert code == "UNAUTHENTICATED"
            assert refused(lambda: client.get_model_metadata(MODEL))[0] == "UNAUTHENTICATED"
        headers = {"authorization": f"Bearer {KEY}"}
        assert client.infer(MODEL, [given(LEVEL)], headers=headers).as_numpy("audio").size


def test_nothing_is_read_of_a_call_without_a_key() -> None:
    silent = threading.Event()

    def messages() -> Iterator[bytes]:
        silent.wait(60)
        yield b""

    with live_rpc(api_keys=KEY) as (_, client):
        with pytest.raises(grpc.RpcError) as caught:
            client._channel.stream_unary(METHOD)(messages(), timeout=30)
        silent.set()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_call_without_a_message_is_refused(pair: tuple[Live, Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pair[1]._channel.stream_unary(METHOD)(iter(()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "message: got nothing" in caught.value.details()


def test_a_request_counts_as_memory_until_its_answer() -> None:
    with live_rpc() as (service, client):
        held = []
        for call in (
            lambda: service.post(1, 2000),
            lambda: client.infer(MODEL, [given(np.full((80, 2000), -5.0, np.float32))]),
        ):
            service.engine.gate.clear()
            answer = later(service, call)
            service.until(lambda: service.lanes.outstanding == 1)
            held.append(service.components.budget.held)
            service.engine.gate.set()
            answer.result(60)
            service.until(lambda: service.components.budget.held == 0)
        assert held[1] - held[0] == pytest.approx(2 * 4 * 80 * 2000, rel=0.01)


def test_details_of_many_bytes_reach_the_client(pair: tuple[Live, Any]) -> None:
    names = ("quality", "n_iter", "momentum", "seed", "harmonics", "peak", "length", "sample_rate")
    wrong = dict.fromkeys(names, "\U0001f600" * 78)
    code, details = refused(lambda: pair[1].infer(MODEL, [given(LEVEL)], parameters=wrong))
    assert code == "INVALID_ARGUMENT"
    assert 900 < len(details.encode()) <= 1000


def later(service: Live, call: Callable[[], Any]) -> Future[Any]:
    return service.pool.submit(call)


def test_a_call_without_a_seat_in_the_queue_is_refused_and_a_draining_service_unavailable() -> None:
    with live_rpc(max_queue_seconds=0.01) as (service, client):
        service.engine.cold = 5.0
        held = service.busy()
        code, details = refused(lambda: client.infer(MODEL, [given(LEVEL)]))
        assert code == "RESOURCE_EXHAUSTED", details
        service.until(lambda: service.metric("refused_total", reason="queue") == 1)
        service.lanes.drain()
        assert not client.is_server_ready()
        code, details = refused(lambda: client.infer(MODEL, [given(LEVEL)]))
        assert (code, "shutting down" in details) == ("UNAVAILABLE", True)
        service.engine.gate.set()
        assert [one.result().status_code for one in held] == [200]


@pytest.mark.parametrize("how", ["timeout", "client_timeout"])
def test_a_call_whose_deadline_passes_in_the_queue_is_not_computed(how: str) -> None:
    with live_rpc() as (service, client):
        held = service.busy()
        limit = {"timeout": 200_000} if how == "timeout" else {"client_timeout": 0.2}
        code, _ = refused(
            lambda: client.infer(MODEL, [given(LEVEL)], parameters={"seed": 9}, **limit)
        )
        assert code == "DEADLINE_EXCEEDED"
        service.until(lambda: service.lanes.waiting == 0)
        service.engine.gate.set()
        assert held[0].result().status_code == 200
        service.assert_in_order()
        assert [9] not in service.engine.calls


def test_a_client_that_cancels_is_taken_out_of_the_queue() -> None:
    with live_rpc() as (service, client):
        held, told = service.busy(), threading.Event()
        call = client.async_infer(
            MODEL, [given(LEVEL)], lambda **_: told.set(), parameters={"seed": 9}
        )
        service.until(lambda: service.lanes.waiting == 1)
        call.cancel()
        service.until(lambda: service.lanes.waiting == 0)
        assert told.wait(60)
        service.engine.gate.set()
        assert held[0].result().status_code == 200
        service.assert_in_order()
        assert [9] not in service.engine.calls
        service.until(lambda: service.metric("requests_total", route=METHOD, status="499") == 1)


def test_what_was_let_in_is_answered_when_the_service_ends() -> None:
    with live_rpc() as (service, client):
        service.engine.gate.clear()
        waiting = [
            later(service, lambda n=n: client.infer(MODEL, [given(LEVEL)], parameters={"seed": n}))  # type: ignore[misc]
            for n in (1, 2, 3)
        ]
        service.until(lambda: service.lanes.outstanding == 3)
        service.server.handle_exit(15, None)
        service.until(lambda: service.lanes.closing)
        assert refused(lambda: client.infer(MODEL, [given(LEVEL)]))[0] == "UNAVAILABLE"
        service.engine.gate.set()
        assert [one.result(60).as_numpy("audio")[0] for one in waiting] == [1.0, 2.0, 3.0]
