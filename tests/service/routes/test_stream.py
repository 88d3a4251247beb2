"""WS /stream and POST /reconstruct?stream=true on a real port: the protocol, its faults, and what
a stream leaves behind.
"""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.service.engines import Gated
from tests.service.live import Live, live, npy, problem
from tests.signals import speech, voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.session import Session
from unmel.models.engine.streams import Options
from unmel.models.engine.work import Result, Work
from unmel.models.errors import NonFiniteOutput, OutOfMemory
from unmel.models.mel.presets import PRESETS
from unmel.service.ops.settings import Settings
from unmel.service.routes import stream
from unmel.service.web.components import make_components
from unmel.service.web.exchange import Exchange
from unmel.service.web.stream_session import StreamSession
from unmel.service.wire.media import FRAMES
from unmel.service.wire.writers import writer

pytestmark = pytest.mark.loops

CONFIG = PRESETS["hifigan-22k"].config
HELLO = {"config": "hifigan-22k", "quality": "draft", "format": "f32le"}


ENGINE = Gated()
ENGINE.gate.set()
MEL = np.ascontiguousarray(analyze(ENGINE.plans.get(CONFIG), voice(0.4)).T)


def expected(seed: int = 0, lookahead: int = 8) -> NDArray[np.float32]:
    session = Session(CONFIG, Options("draft", lookahead, seed), Engine())
    return np.concatenate([session.push(MEL), session.finish()])


@pytest.fixture(scope="module")
def service() -> Iterator[Live]:
    with live(Gated(), max_streams=3, client_seconds=30) as running:
        yield running


def dialled(service: Live) -> connect:
    """A connection on which nothing was said yet, as a context."""
    return connect(service.url.replace("http", "ws") + "/stream", open_timeout=30)


@contextmanager
def opened(service: Live, **hello: Any) -> Iterator[ClientConnection]:
    with dialled(service) as connection:
        connection.send(json.dumps({**HELLO, **hello}))
        yield connection


def ended(connection: ClientConnection) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """The samples until the last message, and that."""
    connection.send(json.dumps({"end": True}))
    data = b""
    while isinstance(message := connection.recv(30), bytes):
        data += message
    return np.frombuffer(data, "<f4"), json.loads(message)


def closed(connection: ClientConnection) -> tuple[int, str]:
    """With what code and reason the service closes."""
    with pytest.raises(ConnectionClosed) as error:
        _read_on(connection)
    assert error.value.rcvd is not None
    return error.value.rcvd.code, error.value.rcvd.reason


def _read_on(connection: ClientConnection) -> None:
    while True:
        connection.recv(30)


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


def test_a_stream_gives_the_samples_of_its_session_and_the_numbers_last(service: Live) -> None:
    with opened(service, seed=5) as connection:
        for frame in MEL:
            connection.send(frame.tobytes())
        samples, numbers = ended(connection)
    assert samples.tobytes() == expected(5).tobytes()
    assert numbers["done"] is True
    assert numbers["samples"] == len(samples) == CONFIG.samples(len(MEL))
    assert (numbers["frames"], numbers["sample_rate"]) == (len(MEL), 22050)
    assert numbers["steps"] > 1
    assert numbers["clipped"] == 0
    assert numbers["warnings"] == []
    assert_free(service)


def matcha() -> NDArray[np.float32]:
    """Two seconds of speech in another scale than the stream's, `[T, K]`."""
    config = PRESETS["matcha-22k"].config
    return np.ascontiguousarray(analyze(ENGINE.plans.get(config), speech(2.0)).T)


def test_a_warning_about_the_scale_is_a_message_of_its_own_before_the_end(service: Live) -> None:
    with opened(service) as connection:
        connection.send(matcha().tobytes())
        while isinstance(message := connection.recv(30), bytes):
            pass
        [warning] = json.loads(message)["warnings"]
        assert "config=matcha-22k" in warning
        _, numbers = ended(connection)
    assert numbers["warnings"] == [warning]


def test_a_strict_stream_is_refused_before_its_first_samples(service: Live) -> None:
    with opened(service, strict=True) as connection:
        connection.send(matcha().tobytes())
        code, reason = closed(connection)
    assert code == 1008
    assert reason.startswith("mel: got values from")


def test_samples_come_before_the_end_was_said(service: Live) -> None:
    with opened(service, lookahead=2) as connection:
        connection.send(MEL[:4].tobytes())
        first = np.frombuffer(connection.recv(30), "<f4")
        assert first.tobytes() == expected(lookahead=2)[: len(first)].tobytes()
        assert len(first) == 2 * 256 - CONFIG.lead


@pytest.mark.parametrize(("peak", "counter"), [(None, "limited"), ("clip", "clipped")])
def test_sixteen_bits_are_the_default_and_what_is_beyond_full_scale_is_counted(
    service: Live, peak: str | None, counter: str
) -> None:
    hello = {"config": "hifigan-22k", "quality": "draft", "peak": peak}
    with dialled(service) as connection:
        connection.send(json.dumps(hello))
        connection.send((MEL + np.float32(1.5)).tobytes())
        connection.send(json.dumps({"end": True}))
        data = b""
        while isinstance(message := connection.recv(30), bytes):
            assert message
            data += message
    samples = np.frombuffer(data, "<i2")
    numbers = json.loads(message)
    assert numbers["samples"] == len(samples) == CONFIG.samples(len(MEL))
    assert np.abs(samples.astype(int)).max() == 32767
    assert {name for name in ("limited", "clipped") if numbers[name]} == {counter}
    assert f"samples {counter}" in numbers["warnings"][0]


def test_sixteen_bits_have_the_same_samples_however_the_frames_are_cut(service: Live) -> None:
    def heard(pieces: Sequence[NDArray[np.float32]]) -> bytes:
        with opened(service, format="s16le") as connection:
            for piece in pieces:
                connection.send((piece + np.float32(1.5)).tobytes())
            return ended(connection)[0].tobytes()

    assert heard([MEL]) == heard([MEL[:1], MEL[1:20], MEL[20:]])


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([b"1234"], "the options first"),
        (["nonsense"], "JSON"),
        ([json.dumps({"config": "no-such"})], "no-such"),
        ([json.dumps({**HELLO, "lookahead": 0})], "lookahead"),
        ([json.dumps({**HELLO, "method": "consistent"})], "method"),
        ([json.dumps(HELLO), b"123"], "whole frames"),
        ([json.dumps(HELLO), json.dumps({"end": False})], "end"),
        ([json.dumps(HELLO), np.full((1, 80), np.nan, "<f4").tobytes()], "finite"),
    ],
)
def test_a_protocol_error_closes_with_1008_and_says_why(
    service: Live, messages: list[str | bytes], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with dialled(service) as connection:
        for message in messages:
            connection.send(message)
        code, reason = closed(connection)
    assert code == 1008
    assert word in reason
    assert len(reason.encode()) <= 123
    assert_free(service)
    service.until(lambda: any(r.name == "unmel.streaming" for r in caplog.records))
    [line] = [r for r in caplog.records if r.name == "unmel.streaming"]
    assert (line.levelname, line.code) == ("INFO", 1008)
    assert line.broken_off.startswith(reason[:100])


def test_a_message_that_is_too_large_closes_with_1009(service: Live) -> None:
    with opened(service) as connection:
        connection.send(bytes(2**18 + 320))
        assert closed(connection)[0] == 1009
    assert_free(service)


def test_a_stream_too_many_is_told_to_come_later_and_a_seat_is_given_back(service: Live) -> None:
    before = service.metric("refused_total", reason="streams")
    with ExitStack() as stack:
        open_ones = [stack.enter_context(opened(service)) for _ in range(3)]
        service.until(lambda: service.components.streams.open == 3)
        with dialled(service) as one_more:
            code, reason = closed(one_more)
        assert code == 1013
        assert "3 streams" in reason
        assert service.metric("refused_total", reason="streams") == before + 1
        refused = chunked(service, npy(), "application/x-npy")
        assert "3 streams" in problem(refused, 503)["detail"]
        open_ones[0].close()
        service.until(lambda: service.components.streams.open == 2)
        with opened(service) as again:
            again.send(MEL.tobytes())
            assert len(ended(again)[0]) == CONFIG.samples(len(MEL))
    assert_free(service)


def test_a_client_that_goes_away_half_way_leaves_nothing_behind() -> None:
    """While its step waits for a lane, too."""
    with live(Gated()) as service, opened(service) as connection:
        connection.send(MEL[:20].tobytes())
        connection.recv(30)
        service.engine.gate.clear()
        connection.send(MEL[20:].tobytes())
        service.until(lambda: service.lanes.outstanding == 1)
        connection.socket.close()
        service.engine.gate.set()
        assert_free(service)


def test_a_fault_of_the_service_closes_with_1011_and_tells_nothing_of_the_inside() -> None:
    class Failing(Gated):
        def run(self, items: Sequence[Work]) -> list[Result]:
            raise RuntimeError("the secret path")

    with live(Failing()) as service, opened(service) as connection:
        connection.send(MEL.tobytes())
        code, reason = closed(connection)
        assert code == 1011
        assert "secret" not in reason
        assert_free(service)


def test_steps_of_several_streams_are_computed_as_one_pack() -> None:
    with live(Gated()) as service, ExitStack() as stack:
        service.engine.gate.clear()
        connections = [stack.enter_context(opened(service, seed=k)) for k in range(4)]
        for connection in connections:
            connection.send(MEL.tobytes())
        service.until(lambda: service.lanes.outstanding == 4)
        service.engine.gate.set()
        for k, connection in enumerate(connections):
            assert ended(connection)[0].tobytes() == expected(k).tobytes()
        assert max(service.engine.calls) > [1]
        assert_free(service)


def test_an_idle_client_is_let_go() -> None:
    with live(Gated(), client_seconds=0.2) as service, opened(service) as connection:
        code, reason = closed(connection)
        assert code == 1008
        assert "nothing for 0.2 s" in reason
        assert_free(service)


def test_streams_end_when_the_service_drains() -> None:
    with live(Gated()) as service, opened(service) as connection:
        connection.send(MEL[:20].tobytes())
        connection.recv(30)
        service.lanes.drain()
        connection.send(MEL[20:30].tobytes())
        code, reason = closed(connection)
        assert code == 1013
        assert "shutting down" in reason


def test_nothing_is_read_from_a_client_that_does_not_read() -> None:
    """One message is answered before the next is asked for."""

    class Deaf:
        def __init__(self) -> None:
            self.received = 0
            self.asked = asyncio.Event()

        async def receive(self) -> dict[str, object]:
            self.received += 1
            return {"type": "websocket.receive", "bytes": MEL.tobytes()}

        async def send_bytes(self, data: bytes) -> None:
            self.asked.set()
            await asyncio.Event().wait()

    async def go() -> int:
        components = make_components(Settings(lanes=1, warm_presets=()), ENGINE)
        components.lanes.start()
        session = StreamSession(components, CONFIG, Options("draft"))
        deaf = Deaf()
        run = asyncio.create_task(
            stream._run(deaf, 60.0, Exchange(session, writer("pcm", 22050, None)))  # type: ignore[arg-type] # all that it asks of a socket
        )
        await deaf.asked.wait()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await asyncio.to_thread(components.lanes.close, 10.0)
        return deaf.received

    assert asyncio.run(go()) == 1


# --- chunked answers --------------------------------------------------------------------------


def chunked(service: Live, content: Any, media_type: str, **params: Any) -> httpx.Response:
    return service.client.post(
        "/reconstruct",
        params={"config": "hifigan-22k", "quality": "draft", "stream": "true", **params},
        content=content,
        headers={"Content-Type": media_type},
    )


def test_a_chunked_answer_is_warned_about_what_came_before_its_head(service: Live) -> None:
    mel = matcha()
    whole = chunked(service, saved(mel), "application/x-npy")
    assert "config=matcha-22k" in whole.headers["x-warning"]
    frames = chunked(service, mel.tobytes(), FRAMES)
    assert "config=matcha-22k" in frames.headers["x-warning"]
    strict = chunked(service, mel.tobytes(), FRAMES, strict="true")
    assert "config=matcha-22k" in problem(strict, 422)["got"]


def saved(mel: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, mel.T)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["wav", "wav_f32", "flac", "pcm", "pcm_f32"])
def test_a_whole_mel_is_answered_in_chunks_with_a_true_header(service: Live, name: str) -> None:
    answer = chunked(service, saved(MEL), "application/x-npy", format=name, seed=3)
    assert answer.status_code == 200, answer.text
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["x-sample-rate"] == "22050"
    assert float(answer.headers["x-audio-seconds"]) == pytest.approx(len(MEL) * 256 / 22050)
    if name.startswith("pcm"):
        kind, full = ("<i2", 32767) if name == "pcm" else ("<f4", 1)
        wave = np.frombuffer(answer.content, kind) / full
    else:
        wave, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        assert rate == 22050
    assert np.abs(wave - expected(3)).max() <= (0 if "f32" in name else 1e-4)
    assert_free(service)


@pytest.mark.parametrize(("name", "rate"), [("ogg", 22050), ("opus", 24000)])
def test_a_lossy_answer_in_chunks_has_the_length_and_the_sound(
    service: Live, name: str, rate: int
) -> None:
    answer = chunked(service, saved(MEL), "application/x-npy", format=name, seed=3)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("audio/ogg; codecs=")
    assert answer.headers["x-sample-rate"] == str(rate)
    assert ("resampled" in answer.headers.get("x-warning", "")) == (rate != 22050)
    wave, read = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    given = soxr.resample(expected(3), 22050, rate)
    assert (read, len(wave)) == (rate, len(given))
    assert np.corrcoef(wave, given)[0, 1] > 0.9
    assert_free(service)


@pytest.mark.parametrize(("name", "rate"), [("ogg", 22050), ("opus", 24000), ("flac", 22050)])
def test_an_encoder_gives_what_it_has_long_before_the_end(name: str, rate: int) -> None:
    """Half-way through twenty seconds at least 40 of a hundred bytes are out, and can be played."""
    wave = voice(20.0, 22050).astype(np.float32)
    out = writer(name, 22050, len(wave))
    pieces = [out.begin()]
    pieces += [out.add(wave[at : at + 256]) for at in range(0, len(wave), 256)]
    half = b"".join(pieces[: len(pieces) // 2])
    whole = b"".join(pieces) + out.end()
    assert len(half) > 0.4 * len(whole)
    with soundfile.SoundFile(io.BytesIO(whole)) as file:
        assert file.samplerate == rate
        assert len(file.read()) == len(soxr.resample(wave, 22050, rate))
    with soundfile.SoundFile(io.BytesIO(half)) as file:
        assert len(file.read(8 * rate)) == 8 * rate


def test_frames_that_come_in_chunks_are_answered_while_they_come(service: Live) -> None:
    """Pieces of any size: a frame may be cut in two. httpx sends all before it reads."""
    data = MEL.astype("<f4").tobytes()
    cuts = [0, 1, 5000, 5001, 9999, len(data)]
    pieces = (data[a:b] for a, b in pairwise(cuts))
    answer = chunked(service, pieces, FRAMES, format="pcm_f32")
    assert answer.status_code == 200, answer.text
    assert np.frombuffer(answer.content, "<f4").tobytes() == expected().tobytes()
    assert_free(service)


class Both:
    """A raw connection that sends a body in chunks and hears the answer meanwhile."""

    def __init__(self, service: Live) -> None:
        address = (service.client.base_url.host, service.client.base_url.port)
        self.socket, self.heard = socket.create_connection(address, timeout=30), b""
        self.socket.sendall(
            b"POST /reconstruct?stream=true&config=hifigan-22k&quality=draft&format=pcm_f32 "
            b"HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: " + FRAMES.encode() + b"\r\n\r\n"
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def hear(self) -> bool:
        """More of the answer; False if that was all."""
        try:
            piece = self.socket.recv(65536)
        except ConnectionResetError:  # broken off with some of the body unread
            return False
        self.heard += piece
        return bool(piece)

    def hear_samples(self) -> None:
        while not self.heard.partition(b"\r\n\r\n")[2]:
            assert self.hear()
        assert self.heard.startswith(b"HTTP/1.1 200")


def test_the_answer_begins_before_the_body_has_ended(service: Live) -> None:
    both = Both(service)
    with both.socket:
        both.send(MEL[:12].tobytes())
        both.hear_samples()
        both.send(MEL[12:].tobytes())
        both.send(b"")
        while not both.heard.endswith(b"\r\n0\r\n\r\n"):
            assert both.hear()
    assert_free(service)


def test_what_looks_wrong_after_the_head_goes_to_the_log(
    service: Live, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mel, both = matcha(), Both(service)
    with both.socket:
        both.send(mel[:12].tobytes())
        both.hear_samples()
        assert b"x-warning" not in both.heard.lower()
        both.send(mel[12:].tobytes())
        both.send(b"")
        while not both.heard.endswith(b"\r\n0\r\n\r\n"):
            assert both.hear()
    service.until(lambda: any(getattr(r, "warnings", None) for r in caplog.records))
    [line] = [r for r in caplog.records if getattr(r, "warnings", None)]
    assert "config=matcha-22k" in line.warnings[0]


def test_what_is_wrong_later_breaks_the_answer_off(service: Live) -> None:
    both = Both(service)
    with both.socket:
        both.send(MEL[:12].tobytes())
        both.hear_samples()
        both.send(np.full((1, 80), np.nan, "<f4").tobytes())
        while both.hear():
            pass
    assert not both.heard.endswith(b"\r\n0\r\n\r\n")
    assert_free(service)


class Faulty(Gated):
    """Computes until it has a fault."""

    fault: Exception | None = None

    def run(self, items: Sequence[Work]) -> list[Result]:
        if self.fault is not None:
            raise self.fault
        return super().run(items)


RAGGED, NAN = MEL[12:24].tobytes()[:-4], np.full((1, 80), np.nan, "<f4").tobytes()


@pytest.mark.parametrize(
    ("status", "words", "fault", "body"),
    [
        (422, "finite", None, [NAN]),
        (422, "whole frames", None, [RAGGED, b""]),
        (422, "overflowed", NonFiniteOutput("nan"), [MEL[12:].tobytes()]),
        (503, "not enough memory", OutOfMemory("2 bytes"), [MEL[12:].tobytes()]),
        (500, "Internal error", ZeroDivisionError("inside"), [MEL[12:].tobytes()]),
        (503, "shutting down", "drain", [MEL[12:].tobytes()]),
        (408, "No frame arrived", "slow", []),
        (499, "closed the connection", "leave", []),
    ],
)
def test_an_answer_that_is_broken_off_is_one_line_with_its_reason(
    status: int,
    words: str,
    fault: Exception | str | None,
    body: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """200 went out, but the log and the metrics have the status that would have; a traceback only
    where the service is at fault, and once.
    """
    engine, labels = Faulty(), {"route": "/reconstruct", "status": str(status)}
    with live(engine, client_seconds=1.0 if fault == "slow" else 30.0) as service:
        caplog.set_level("INFO")
        both = Both(service)
        with both.socket:
            both.send(MEL[:12].tobytes())
            both.hear_samples()
            engine.fault = fault if isinstance(fault, Exception) else None
            if fault == "drain":
                service.lanes.drain()
            for piece in body:
                both.send(piece)
            while fault != "leave" and both.hear():
                pass
        service.until(lambda: service.metric("requests_total", **labels) == 1)
        assert not both.heard.endswith(b"\r\n0\r\n\r\n")
        engine.fault = None
    [line] = [r for r in caplog.records if getattr(r, "route", None) == "/reconstruct"]
    assert (line.levelname, line.status) == ("INFO", status)
    assert words in line.broken_off
    about = {"unmel.access", "unmel.problems", "uvicorn.error"}  # lanes tell of their own faults
    loud = [r.exc_info for r in caplog.records if r.levelname == "ERROR" and r.name in about]
    assert [bool(one) for one in loud] == ([True] if status == 500 else [])


def test_a_stream_that_is_limited_says_so_in_the_log(
    service: Live, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    loud = MEL + np.float32(1.5)
    assert chunked(service, saved(loud), "application/x-npy", format="pcm").status_code == 200
    service.until(lambda: any(getattr(r, "warnings", None) for r in caplog.records))
    [line] = [r for r in caplog.records if getattr(r, "warnings", None)]
    assert "samples limited" in line.warnings[0]


def test_a_client_that_goes_away_half_way_through_its_body_leaves_nothing(service: Live) -> None:
    both = Both(service)
    with both.socket:
        both.send(MEL[:12].tobytes())
        both.hear_samples()
    assert_free(service)


@pytest.mark.parametrize(("name", "width"), [("wav", 2), ("wav_f32", 4)])
def test_a_wav_of_unknown_length_claims_none(service: Live, name: str, width: int) -> None:
    """Its sizes are those of pipes, and there is no `fact`: players take its number for true."""
    answer = chunked(service, iter([MEL.tobytes()]), FRAMES, format=name)
    head, mark, rest = answer.content.partition(b"data")
    assert mark
    assert b"fact" not in head
    assert head[4:8] == rest[:4] == b"\xff" * 4
    assert len(rest) == 4 + width * CONFIG.samples(len(MEL))
    assert "x-audio-seconds" not in answer.headers
    wave, rate = soundfile.read(io.BytesIO(answer.content))
    assert (len(wave), rate) == (CONFIG.samples(len(MEL)), 22050)


def test_a_flac_of_unknown_length_claims_none(service: Live) -> None:
    """RFC 9639, section 8.2: 36 bits for the number of samples, 0 for unknown."""
    answer = chunked(service, iter([MEL.tobytes()]), FRAMES, format="flac")
    assert int.from_bytes(answer.content[21:26], "big") & (2**36 - 1) == 0


@pytest.mark.parametrize(
    ("content", "media_type", "params", "status", "field"),
    [
        (b"", FRAMES, {"stream": "maybe"}, 422, "stream"),
        (b"", FRAMES, {"n_iter": 3}, 422, "n_iter"),
        (b"", FRAMES, {"format": "mp3"}, 422, "format"),
        (b"", FRAMES, {"sample_rate": 16000}, 422, "sample_rate"),
        (b"", FRAMES, {"lookahead": 99}, 422, "lookahead"),
        (b"123", FRAMES, {}, 422, "frames"),
        (np.full((1, 80), np.inf, "<f4").tobytes(), FRAMES, {}, 422, "mel"),
        (b"junk", "application/x-npy", {}, 400, "mel"),
        (saved(MEL[:, :79]), "application/x-npy", {}, 422, "mel"),
    ],
)
def test_what_is_wrong_from_the_start_is_a_problem(
    service: Live, content: bytes, media_type: str, params: dict[str, Any], status: int, field: str
) -> None:
    answer = chunked(service, content, media_type, **params)
    assert problem(answer, status)["field"] == field
    assert_free(service)


def test_a_body_without_frames_is_an_empty_file(service: Live) -> None:
    answer = chunked(service, b"", FRAMES, format="pcm")
    assert (answer.status_code, answer.content) == (200, b"")
