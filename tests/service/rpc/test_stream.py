"""ModelStreamInfer by Triton's own client: frames in, audio out, whole requests beside them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from websockets.sync.client import connect

from tests.service.engines import CONFIG, Gated
from tests.service.live import Live
from tests.service.rpc.asking import KEY, MODEL, Stream, given, live_rpc, parameters
from tests.signals import speech, voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.session import Session
from unmel.models.engine.streams import Options
from unmel.models.mel.presets import PRESETS
from unmel.service.rpc import streams
from unmel.service.rpc.messages import parameters_of, set_parameters
from unmel.service.rpc.streams import _only_answer

pytestmark = pytest.mark.loops

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
DRAFT = {"quality": "draft"}


ENGINE = Engine()
MEL = np.ascontiguousarray(analyze(ENGINE.plans.get(CONFIG), voice(0.4)).T)


def expected(seed: int = 0, lookahead: int = 8) -> np.ndarray:
    session = Session(CONFIG, Options("draft", lookahead, seed), Engine())
    return np.concatenate([session.push(MEL), session.finish()])


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Live, Any]]:
    with live_rpc(Gated(), max_streams=3, client_seconds=30) as pair:
        yield pair


@pytest.fixture
def stream(pair: tuple[Live, Any]) -> Iterator[Stream]:
    made = Stream(pair[1])
    yield made
    made.stop()
    assert_free(pair[0])


def is_open(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except OSError:
        return False
    return True


def assert_free(service: Live) -> None:
    """Nothing of any stream is left."""
    components = service.components
    service.until(
        lambda: (
            components.streams.open == 0
            and components.budget.held == 0
            and components.lanes.outstanding == 0
        )
    )


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_a_sequence_gives_the_samples_of_a_session_and_of_the_websocket(
    pair: tuple[Live, Any], stream: Stream, cut: int
) -> None:
    options = {**DRAFT, "seed": 5}
    pieces = [MEL[at : at + cut] for at in range(0, len(MEL), cut)]
    for number, piece in enumerate(pieces, start=1):
        first, last = number == 1, number == len(pieces)
        stream.send(
            piece, 7, parameters=options if first else None, sequence_start=first, sequence_end=last
        )
    audio, said = stream.until_final()
    assert audio.tobytes() == expected(5).tobytes()
    assert [one["triton_final_response"] for one in said] == [False] * (len(said) - 1) + [True]
    assert {(one["sample_rate"], one["sequence_id"]) for one in said} == {(22050, 7)}
    assert (said[-1]["samples"], said[-1]["frames"]) == (len(audio), len(MEL))
    with connect(pair[0].url.replace("http", "ws") + "/stream") as socket:
        socket.send(json.dumps({"config": MODEL, "format": "f32le", **options}))
        socket.send(MEL.tobytes())
        socket.send(json.dumps({"end": True}))
        heard = b""
        while isinstance(message := socket.recv(30), bytes):
            heard += message
    assert audio.tobytes() == heard


def test_audio_comes_before_the_end_was_said_and_a_half_close_is_an_end(
    pair: tuple[Live, Any],
) -> None:
    stream = Stream(pair[1])
    stream.send(MEL[:4], parameters={**DRAFT, "lookahead": 2}, sequence_start=True, request_id="a")
    first = stream.next()
    assert first.get_response().id == "a"
    audio = first.as_numpy("audio")
    assert audio.tobytes() == expected(lookahead=2)[: len(audio)].tobytes()
    assert len(audio) == 2 * 256 - CONFIG.lead
    stream.send(MEL[4:])
    stream.stop()
    rest, said = stream.until_final()
    assert np.concatenate([audio, rest]).tobytes() == expected(lookahead=2).tobytes()
    assert said[-1]["triton_final_response"]
    assert stream.answers.empty()


@pytest.mark.parametrize("frames", [None, MEL[:0]])
def test_the_end_may_come_without_frames(stream: Stream, frames: np.ndarray | None) -> None:
    stream.send(MEL, "words", parameters=DRAFT, sequence_start=True)
    stream.send(frames, "words", sequence_end=True)
    audio, said = stream.until_final()
    assert audio.tobytes() == expected().tobytes()
    assert said[-1]["sequence_id"] == "words"


def test_an_id_may_begin_another_sequence_as_soon_as_its_end_was_said(stream: Stream) -> None:
    for seed in (1, 2, 3):
        parameters = {**DRAFT, "seed": seed}
        stream.send(MEL[:9], parameters=parameters, sequence_start=True)
        stream.send(MEL[9:], sequence_end=True)
    for seed in (1, 2, 3):
        audio, said = stream.until_final()
        assert audio.tobytes() == expected(seed).tobytes()
        assert "warnings" not in said[-1]


def test_a_sequence_of_no_frames_ends_with_no_samples(stream: Stream) -> None:
    stream.send(None, sequence_start=True, sequence_end=True)
    audio, [said] = stream.until_final()
    assert audio.size == 0
    assert said["frames"] == 0


def test_sequences_and_whole_requests_share_a_call_and_a_pack() -> None:
    with live_rpc(Gated()) as (service, client):
        stream = Stream(client)
        service.engine.gate.clear()
        for ident in (1, 2, 3):
            stream.send(MEL, ident, parameters={**DRAFT, "seed": ident}, sequence_start=True)
        service.until(lambda: service.lanes.outstanding == 3)
        whole = {"n_iter": 2, "seed": 4}
        stream.send(MEL.T.copy(), 0, parameters=whole, request_id="whole")
        service.until(lambda: service.lanes.outstanding == 4)
        service.engine.gate.set()
        stream.stop()
        audio: dict[Any, list[np.ndarray]] = {}
        finals = []
        while not stream.answers.empty():
            result = stream.next()
            said = parameters(result)
            key = said.get("sequence_id", result.get_response().id)
            audio.setdefault(key, []).append(result.as_numpy("audio"))
            finals += [key] * said["triton_final_response"]
        assert sorted(map(str, finals)) == ["1", "2", "3", "whole"]
        for ident in (1, 2, 3):
            assert np.concatenate(audio[ident]).tobytes() == expected(ident).tobytes()
        alone = client.infer(MODEL, [given(MEL.T.copy())], parameters=whole)
        np.testing.assert_array_equal(audio["whole"][0], alone.as_numpy("audio"))
        assert max(service.engine.calls) > [1]
        assert_free(service)


def test_a_warning_comes_as_soon_as_it_is_known_and_a_strict_sequence_is_refused(
    stream: Stream,
) -> None:
    config = PRESETS["matcha-22k"].config
    other = np.ascontiguousarray(analyze(ENGINE.plans.get(config), speech(2.0)).T)
    stream.send(other, 1, parameters=DRAFT, sequence_start=True, sequence_end=True)
    _, said = stream.until_final()
    assert "config=matcha-22k" in said[0]["warnings"]
    assert said[-1]["warnings"] == said[0]["warnings"]
    strict = {**DRAFT, "strict": True}
    stream.send(other, 2, parameters=strict, sequence_start=True)
    assert "sequence 2: mel: got values from" in stream.error()


@pytest.mark.parametrize(
    ("frames", "how", "words"),
    [
        (MEL * np.float32(np.nan), {}, "sequence 1: mel: got nan"),
        (MEL[:, :79], {}, "expected [frames, 80]"),
        (np.repeat(MEL, 40, 0), {}, "at most 262144 in a request"),
        (MEL, {"model": "nothing"}, "[StatusCode.NOT_FOUND] sequence 1: model"),
        (MEL, {"parameters": {"n_iter": 3}}, "parameters.n_iter"),
        (MEL, {"parameters": {"lookahead": 0}}, "lookahead"),
        (MEL, {"parameters": {"format": "s16le"}}, "parameters.format"),
        (MEL, {"outputs": [triton.InferRequestedOutput("errors")]}, "'audio'"),
        (MEL, {"sequence_start": False}, "sequence 1: sequence_start: got nothing"),
        (None, {}, "one input, 'mel'"),
        (MEL, {"ident": 0, "parameters": {"n_iter": -1}}, "INVALID_ARGUMENT] n_iter"),
        (MEL, {"ident": -4}, "sequence_id: got -4"),
        (MEL, {"ident": "x" * 129}, "a text of up to 128 characters"),
    ],
)
def test_a_fault_is_an_error_message_and_the_call_goes_on(
    stream: Stream, frames: np.ndarray | None, how: dict[str, Any], words: str
) -> None:
    stream.send(frames, **{"sequence_start": True, **how})
    assert words in stream.error()
    stream.send(MEL, 2, parameters=DRAFT, sequence_start=True, sequence_end=True)
    assert stream.until_final()[0].tobytes() == expected().tobytes()


@pytest.mark.parametrize("ident", [1, 2**63, 2**64 - 1, "words"])
def test_every_id_that_a_request_can_have_is_given_back(ident: int | str) -> None:
    message = service_pb2.ModelInferResponse()
    set_parameters(message, {"sequence_id": ident})
    assert parameters_of(message.parameters) == {"sequence_id": ident}


def test_what_follows_an_end_or_a_fault_is_no_sequence_any_more(stream: Stream) -> None:
    stream.send(MEL[:4], parameters=DRAFT, sequence_start=True)
    stream.send(MEL[4:8], sequence_start=True)
    assert "sequence_start: got true for sequence 1, which is open already" in stream.error()
    stream.send(MEL[4:8], parameters={"quality": "high"})
    assert "those of the first request, or none" in stream.error()
    stream.send(MEL[8:12])
    assert "which is not open" in stream.error()


def test_a_later_request_may_not_name_another_model(stream: Stream) -> None:
    stream.send(MEL[:4], parameters=DRAFT, sequence_start=True)
    stream.send(MEL[4:8], model="matcha-22k")
    assert "model_name: got 'matcha-22k'; expected 'hifigan-22k'" in stream.error()


def test_every_request_behind_a_fault_gets_an_error_of_its_own() -> None:
    with live_rpc(Gated()) as (service, client):
        stream = Stream(client)
        service.engine.gate.clear()
        stream.send(MEL[:20], parameters=DRAFT, sequence_start=True)
        service.until(lambda: service.lanes.outstanding == 1)
        stream.send(MEL * np.float32(np.nan))
        for _ in range(4):
            stream.send(MEL[:1])
        service.engine.gate.set()
        stream.stop()
        said = [str(error) for _, error in list(stream.answers.queue) if error]
        assert "mel: got nan" in said[0]
        assert ["which is not open" in one for one in said] == [False, True, True, True, True]
        assert_free(service)


def test_a_sequence_is_not_idle_while_another_holds_up_the_call() -> None:
    with live_rpc(Gated(), client_seconds=0.5) as (service, client):
        stream, clock = (
            Stream(client),
            triton.InferenceServerClient(f"127.0.0.1:{service.components.settings.grpc_port}"),
        )
        service.engine.gate.clear()
        stream.send(MEL[:1], 1, parameters=DRAFT, sequence_start=True)
        stream.send(MEL[:20], 2, parameters=DRAFT, sequence_start=True)
        for _ in range(3):
            stream.send(MEL[:1], 2)
        stream.send(MEL[1:], 1, sequence_end=True)
        service.until(lambda: service.lanes.outstanding == 1)
        other = Stream(clock)
        other.send(MEL[:1], parameters=DRAFT, sequence_start=True)
        assert "got nothing for 0.5 s" in other.error()
        service.engine.gate.set()
        stream.stop()
        audio = [stream.next() for _ in range(stream.answers.qsize())]
        mine = [one.as_numpy("audio") for one in audio if parameters(one)["sequence_id"] == 1]
        assert np.concatenate(mine).tobytes() == expected().tobytes()
        clock.close()


def test_frames_are_taken_while_memory_is_short() -> None:
    with live_rpc(Gated()) as (service, client):
        stream, budget = Stream(client), service.components.budget
        stream.send(MEL[:20], parameters=DRAFT, sequence_start=True)
        stream.next()
        budget.max_bytes = 0
        stream.send(MEL[20:], sequence_end=True)
        assert stream.until_final()[1][-1]["frames"] == len(MEL)
        stream.stop()


def test_a_stream_too_many_is_told_to_come_later(pair: tuple[Live, Any], stream: Stream) -> None:
    service = pair[0]
    before = service.metric("refused_total", reason="streams")
    for ident in (1, 2, 3, 4):
        stream.send(MEL[:1], ident, parameters=DRAFT, sequence_start=True)
    assert "RESOURCE_EXHAUSTED] sequence 4: 3 streams are open" in stream.error()
    assert service.metric("refused_total", reason="streams") == before + 1


def test_a_client_that_cancels_leaves_nothing_behind() -> None:
    with live_rpc(Gated()) as (service, client):
        stream = Stream(client)
        stream.send(MEL[:20], parameters=DRAFT, sequence_start=True)
        stream.next()
        service.engine.gate.clear()
        stream.send(MEL[20:])
        service.until(lambda: service.lanes.outstanding == 1)
        client.stop_stream(cancel_requests=True)
        service.until(lambda: service.metric("requests_total", route=METHOD, status="499") == 1)
        service.engine.gate.set()
        assert_free(service)


def test_a_call_ends_at_its_deadline(pair: tuple[Live, Any]) -> None:
    stream = Stream(pair[1], stream_timeout=0.5)
    stream.send(MEL[:4], parameters={**DRAFT, "lookahead": 2}, sequence_start=True)
    while "Deadline" not in str(error := stream.answers.get(timeout=60)[1]):
        assert error is None
    assert_free(pair[0])


def test_an_idle_sequence_is_let_go() -> None:
    with live_rpc(Gated(), client_seconds=0.2) as (service, client):
        stream = Stream(client)
        stream.send(MEL[:1], parameters=DRAFT, sequence_start=True)
        assert "sequence_id: got nothing for 0.2 s" in stream.error()
        stream.stop()
        assert_free(service)


@pytest.mark.slow
def test_a_client_may_ping_every_second_while_it_waits() -> None:
    often = triton.KeepAliveOptions(
        keepalive_time_ms=1000, http2_max_pings_without_data=0, keepalive_permit_without_calls=True
    )
    with live_rpc(Gated(), client_seconds=6) as (service, _):
        port = service.components.settings.grpc_port
        with triton.InferenceServerClient(f"127.0.0.1:{port}", keepalive_options=often) as client:
            stream = Stream(client)
            stream.send(MEL[:1], parameters=DRAFT, sequence_start=True)
            assert "got nothing for 6 s" in stream.error()
            stream.stop()


def test_a_key_is_asked_of_the_call() -> None:
    with live_rpc(Gated(), api_keys=KEY) as (_, client):
        refused = Stream(client)
        assert "An API key is required" in refused.error()
        client.stop_stream()
        stream = Stream(client, headers={"authorization": f"Bearer {KEY}"})
        stream.send(MEL, parameters=DRAFT, sequence_start=True, sequence_end=True)
        assert stream.until_final()[0].tobytes() == expected().tobytes()
        stream.stop()


def test_streams_end_when_the_service_drains() -> None:
    with live_rpc(Gated()) as (service, client):
        stream = Stream(client)
        stream.send(MEL[:20], parameters=DRAFT, sequence_start=True)
        stream.next()
        service.lanes.drain()
        stream.send(MEL[20:30])
        while not (answer := stream.answers.get(timeout=60))[1]:
            pass
        assert "UNAVAILABLE] sequence 1: The service is shutting down" in str(answer[1])
        stream.stop()


def test_a_whole_request_of_a_stream_is_answered_although_the_service_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered, gate = threading.Event(), threading.Event()

    def held(answer: Any) -> bytes:
        entered.set()
        gate.wait(60)
        return _only_answer(answer)

    monkeypatch.setattr(streams, "_only_answer", held)
    with live_rpc(Gated()) as (service, client):
        stream = Stream(client)
        stream.send(MEL.T.copy(), 0, parameters={"n_iter": 2})
        assert entered.wait(60)
        service.server.handle_exit(15, None)
        address = ("127.0.0.1", service.components.settings.grpc_port)
        while is_open(address):
            pass
        gate.set()
        assert stream.next().as_numpy("audio").size
        assert "UNAVAILABLE] The service is shutting down" in stream.error()
        stream.stop()


def test_an_idle_stream_does_not_hold_up_the_end() -> None:
    """The grace period is half a minute; leaving the block waits for the end."""
    with live_rpc(Gated(), drain_seconds=3600) as (service, client):
        stream = Stream(client)
        stream.send(MEL[:1], parameters=DRAFT, sequence_start=True)
        service.until(lambda: service.components.streams.open == 1)
        service.server.handle_exit(15, None)
        assert "UNAVAILABLE] The service is shutting down" in stream.error()
        stream.stop()
