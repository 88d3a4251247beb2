"""Every fault that users of other servers complain of: what the client sees, what is left behind.

One lane on a real port, an engine made for tests. A request's seed says what befalls it.
"""

from __future__ import annotations

import json
import signal
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.service.live import NPY, Live, live, npy, problem, samples
from unmel.models.errors import OutOfMemory
from unmel.service.web import pipeline
from unmel.service.wire.bodies import Body, read_body


@pytest.fixture
def service() -> Iterator[Live]:
    with live() as made:
        yield made
        if not made.lanes.closing:
            made.assert_in_order()


def statuses(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


def finish(service: Live, futures: list) -> list[httpx.Response]:
    """Open the gate and wait for every answer."""
    service.engine.gate.set()
    return [future.result() for future in futures]


# --- the engine ---------------------------------------------------------------------------------


def test_an_exception_in_a_pack_is_the_guilty_ones_answer_alone(service: Live) -> None:
    service.engine.faults[3] = ValueError("secret of /srv/engine.py")
    answers = finish(service, service.busy(waiting=(2, 3, 4)))
    assert statuses(answers) == [200, 200, 500, 200]
    assert [samples(answers[k])[0] for k in (1, 3)] == [2, 4]
    body = json.dumps(problem(answers[2], 500))
    assert "secret" not in body
    assert "engine.py" not in body
    assert service.engine.calls[:2] == [[1], [2, 3, 4]]


def test_a_pack_without_memory_is_halved_and_every_item_answered(service: Live) -> None:
    service.engine.room = 1
    answers = finish(service, service.busy(waiting=(2, 3, 4, 5)))
    assert statuses(answers) == [200] * 5
    assert service.engine.calls == [[1], [2, 3, 4, 5], [2, 3], [2], [3], [4, 5], [4], [5]]
    assert service.engine.freed == 3


def test_one_item_without_memory_is_told_to_come_back(service: Live) -> None:
    service.engine.faults[3] = OutOfMemory("cuda:0 has 12 bytes left")
    answers = finish(service, service.busy(waiting=(2, 3)))
    assert statuses(answers) == [200, 200, 503]
    assert "cuda" not in problem(answers[2], 503)["detail"]


@pytest.mark.parametrize("sample", [float("nan"), float("-inf")])
def test_output_that_is_not_finite_is_an_error_and_never_audio(
    service: Live, sample: float
) -> None:
    service.engine.faults[3] = sample
    answers = finish(service, service.busy(waiting=(2, 3)))
    assert statuses(answers) == [200, 200, 422]
    assert "overflowed" in problem(answers[2], 422)["detail"]


def test_a_lane_that_dies_is_replaced_and_readiness_tells_the_truth_meanwhile(
    service: Live,
) -> None:
    def die() -> None:
        service.engine.gate.clear()  # so that the new lane's probe is held
        raise SystemExit(1)

    service.engine.faults[3] = die
    answers = finish(service, service.busy(waiting=(2, 3)))
    assert statuses(answers) == [200, 503, 503]
    assert "died" in problem(answers[1], 503)["detail"]
    assert not service.ready()
    assert problem(service.post(5), 503)["detail"] == "No lane works at the moment."
    service.engine.gate.set()
    service.until(service.ready)
    assert service.metric("lanes_lost_total", cause="died") == 1
    service.until(lambda: service.metric("refused_total", reason="lanes") == 1)


def test_a_lane_that_hangs_is_replaced_and_its_request_answered() -> None:
    with live(hang_seconds=0.2) as service:
        [hung] = service.busy()
        assert "hung" in problem(hung.result(), 503)["detail"]
        assert not service.ready()  # the new lane's probe hangs too, at the same gate
        assert service.metric("lanes", state="hung") >= 1
        service.engine.gate.set()
        service.assert_in_order()
        assert service.metric("lanes_lost_total", cause="hung") >= 1
        service.until(lambda: service.metric("lanes", state="hung") == 0)


def test_when_only_a_new_process_can_help_liveness_says_so() -> None:
    with live(hang_seconds=0.1) as service:
        [hung] = service.busy()
        problem(hung.result(), 503)
        while service.client.get("/livez").status_code == 200:
            assert not service.ready()
        assert service.client.get("/livez").json()["status"] == "hopeless"
        service.engine.gate.set()
        while service.client.get("/livez").status_code != 200:
            pass
        service.assert_in_order()


def test_a_device_that_fails_at_everything_makes_the_service_unready() -> None:
    with live() as service:
        probe = 0  # the seed of the least that a lane can be asked to compute
        service.engine.faults |= {seed: RuntimeError("sticky") for seed in (probe, 2)}
        problem(service.post(2), 500)
        service.until(lambda: not service.ready())
        service.engine.faults.clear()
        service.assert_in_order()


# --- clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_a_client_that_leaves_the_queue_is_never_computed(service: Live, *, half: bool) -> None:
    """Nor one that closes its sending side alone: both send the same FIN (docs/api.md)."""
    futures = service.busy()
    gone = service.raw(npy(), seed=2)
    service.until(lambda: service.lanes.waiting == 1)
    futures += service.later(3)
    service.until(lambda: service.lanes.waiting == 2)
    if half:
        gone.shutdown(socket.SHUT_WR)
        assert gone.recv(1) == b""
    gone.close()
    service.until(lambda: service.lanes.waiting == 1)
    assert statuses(finish(service, futures)) == [200, 200]
    assert service.engine.calls == [[1], [3]]
    service.until(lambda: service.metric("requests_total", route="/reconstruct", status="499") == 1)


def test_a_client_that_leaves_while_computed_does_its_neighbours_no_harm(service: Live) -> None:
    futures = service.busy()
    gone = service.raw(npy(), seed=2)
    service.until(lambda: service.lanes.waiting == 1)
    futures += service.later(3)
    service.until(lambda: service.lanes.waiting == 2)
    service.engine.faults[3] = lambda: (gone.close(), None)[1]  # in the pack's midst
    answers = finish(service, futures)
    assert statuses(answers) == [200, 200]
    assert service.engine.calls == [[1], [2, 3]]


def test_a_client_that_leaves_in_the_midst_of_its_body_leaves_nothing_held(service: Live) -> None:
    connection = service.raw(npy()[:1000], length=10**7)
    service.until(lambda: service.components.budget.held > 0)
    connection.close()
    service.until(lambda: service.components.budget.held == 0)
    assert service.engine.calls == []


@pytest.mark.slow
def test_a_client_that_does_not_read_holds_no_lane_and_is_broken_off() -> None:
    with live(client_seconds=1.0) as service:
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((service.client.base_url.host, service.client.base_url.port))
        body = npy(60_000)  # answered with 61 MB
        stuck.sendall(
            b"POST /reconstruct?config=hifigan-22k&format=wav_f32&seed=2&n_iter=1 HTTP/1.1\r\n"
            b"Host: test\r\n"
            b"Content-Type: application/x-npy\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        service.until(lambda: [2] in service.engine.calls)
        assert service.post(3).status_code == 200  # while the answer to 2 is not read
        assert service.components.budget.held > 2**20
        service.assert_in_order()  # and after a while nothing is held for it any more
        stuck.close()


def test_a_client_that_sends_too_slowly_holds_no_lane_and_is_told() -> None:
    with live(client_seconds=0.5) as service:
        slow = service.raw(npy()[:100], length=len(npy()))
        assert service.post(3).status_code == 200
        answer = b""
        while piece := slow.recv(2**16):
            answer += piece
        slow.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"status":408' in answer
        service.assert_in_order()


def test_bad_bodies_come_into_no_pack(service: Live) -> None:
    futures = service.busy(waiting=(2,))
    for body, status in ((b"no npy", 400), (npy()[:-4], 400), (npy(60_001), 413)):
        answer = service.client.post(
            "/reconstruct?config=hifigan-22k",
            content=body,
            headers={"Content-Type": "application/x-npy"},
        )
        problem(answer, status)
    assert statuses(finish(service, futures)) == [200, 200]
    assert service.engine.calls == [[1], [2]]


# --- too much -----------------------------------------------------------------------------------


def test_a_deadline_missed_in_the_queue_is_answered_in_time_and_not_computed(
    service: Live,
) -> None:
    futures = service.busy()
    late = service.post(2, **{"X-Deadline-Ms": 100})
    assert "nothing was computed" in problem(late, 504)["detail"]
    assert statuses(finish(service, futures)) == [200]
    assert service.engine.calls == [[1]]


@pytest.mark.parametrize("value", ["0", "-5", "soon", "1.5", "86400001", "9" * 40, "٣"])
def test_a_deadline_that_is_none_is_refused(service: Live, value: str) -> None:
    answer = service.client.post(
        "/reconstruct?config=hifigan-22k",
        content=npy(),
        headers={"Content-Type": NPY, "X-Deadline-Ms": value.encode()},
    )
    assert problem(answer, 422)["field"] == "X-Deadline-Ms"


def test_a_full_queue_refuses_at_once_with_the_estimate() -> None:
    with live(max_queue_seconds=0.5) as service:
        futures = service.busy(waiting=(2,), frames=50_000, n_iter=40)
        body = problem(service.post(3), 503)
        assert body["estimate_seconds"] > 0.5
        assert "would wait" in body["detail"]
        service.until(lambda: service.metric("refused_total", reason="queue") == 1)
        assert service.metric("queue_items") == 1
        assert service.metric("queue_cost_seconds") > 0.5
        assert statuses(finish(service, futures)) == [200, 200]
        service.assert_in_order()


def test_what_all_requests_hold_together_is_bounded() -> None:
    with live(max_body_mb=1, max_held_mb=2) as service:
        # 640 kB, counted threefold; the answer is larger, but by then the request is alone.
        holder = service.raw(npy(2000)[:-1], length=len(npy(2000)))
        service.until(lambda: service.components.budget.held > 1_900_000)
        body = problem(service.post(2, frames=1000), 503)
        assert "hold" in body["detail"]
        service.until(lambda: service.metric("refused_total", reason="memory") == 1)
        holder.sendall(npy(2000)[-1:])
        assert holder.recv(20).startswith(b"HTTP/1.1 200 ")
        holder.close()
        service.assert_in_order()


# --- the end ------------------------------------------------------------------------------------


def test_a_drain_refuses_what_comes_and_answers_what_was_accepted(service: Live) -> None:
    futures = service.busy(waiting=(2, 3))
    service.server.handle_exit(signal.SIGTERM, None)
    service.until(lambda: service.lanes.closing)
    assert not service.ready()
    assert "shutting down" in problem(service.post(4), 503)["detail"]
    answer = service.client.post("/analyze?config=librosa", content=b"RIFF")
    assert "shutting down" in problem(answer, 503)["detail"]
    service.until(lambda: service.metric("refused_total", reason="draining") == 2)
    assert statuses(finish(service, futures)) == [200] * 3
    assert service.lanes.outstanding == 0


def test_answers_of_a_drain_close_their_connections(service: Live) -> None:
    """Or clients would send their next requests on connections that are about to be closed."""
    assert "connection" not in service.client.get("/livez").headers
    accepted = service.busy(waiting=(2,))
    service.server.handle_exit(signal.SIGTERM, None)
    service.until(lambda: service.lanes.closing)
    refused = service.post(3)
    service.engine.gate.set()
    answers = [future.result() for future in accepted]
    assert statuses(answers) == [200, 200]
    for answer in (*answers, refused):
        assert answer.headers["connection"] == "close"


def test_a_request_that_has_come_when_the_port_is_closed_is_answered(
    service: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies unread on a connection that was kept, at the moment when uvicorn would close it."""
    with service.raw(npy()) as kept:
        assert kept.recv(2**16).startswith(b"HTTP/1.1 200")
        shut_down = service.server.shutdown

        async def send_and_shut_down(sockets: list[socket.socket] | None = None) -> None:
            kept.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
            await shut_down(sockets)

        monkeypatch.setattr(service.server, "shutdown", send_and_shut_down)
        service.server.handle_exit(signal.SIGTERM, None)
        answer = b"".join(iter(lambda: kept.recv(2**16), b""))
    assert b"HTTP/1.1 200 OK" in answer
    assert b"connection: close" in answer.lower()


def test_what_the_grace_period_is_not_enough_for_is_answered_with_a_problem() -> None:
    with live(drain_seconds=1, max_queue_seconds=1.0) as service:
        futures = service.busy(waiting=(2, 3))
        slow = service.raw(npy()[:100], length=len(npy()))  # its body never comes to an end
        service.until(lambda: service.components.budget.held > 0)
        service.server.handle_exit(signal.SIGTERM, None)
        for future in futures:
            assert "shut down before" in problem(future.result(), 503)["detail"]
        assert slow.recv(2**16).startswith(b"HTTP/1.1 503 ")
        slow.close()
        assert service.lanes.outstanding == 0


def test_a_body_is_not_kept_while_its_request_waits(
    service: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the mel and the result are counted then."""
    bodies: list[weakref.ref[Body]] = []

    async def read_and_note(*given: Any) -> Body:
        body = await read_body(*given)
        bodies.append(weakref.ref(body))
        return body

    monkeypatch.setattr(pipeline, "read_body", read_and_note)
    futures = service.busy()
    service.until(lambda: [body() for body in bodies] == [None])
    assert statuses(finish(service, futures)) == [200]


@pytest.mark.parametrize(("binary", "least", "most"), [(True, 5, 6), (False, 84, 100)])
def test_an_answer_in_json_holds_memory_for_its_digits(
    service: Live, *, binary: bool, least: int, most: int
) -> None:
    """Bytes for each of 256 samples, of which the mel takes 1.25."""
    service.engine.gate.clear()
    mel = {"name": "mel", "datatype": "FP32", "shape": [80, 1], "data": [-5.0] * 80}
    body = {"inputs": [mel], "parameters": {"binary_data_output": binary}}
    answer = service.pool.submit(service.client.post, "/v2/models/hifigan-22k/infer", json=body)
    service.engine.entered.acquire()
    held = service.components.budget.held
    assert statuses(finish(service, [answer])) == [200]
    assert least <= held / 256 <= most
