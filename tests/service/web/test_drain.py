"""The last clients of a service that ends: whoever the kernel had connected is answered."""

from __future__ import annotations

import signal
import socket
import sys
import threading

import pytest

from tests.service.live import Live, live, npy
from unmel.service import server
from unmel.service.server import Server

REFUSED = b"HTTP/1.1 503 Service Unavailable"
linux = pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")


def status(connection: socket.socket) -> bytes:
    """The first line of an answer, read to its end."""
    with connection, connection.makefile("rb") as answer:
        return answer.read().split(b"\r\n")[0]


def test_a_client_in_the_kernels_queue_is_answered_and_the_next_is_not_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They connect while the event loop is at the port's end, which it does not leave for them."""
    waiting: list[socket.socket] = []
    refuse_connections = server._refuse_connections
    with live() as service:

        def just_before(bound: socket.socket) -> None:
            waiting.extend(service.raw(npy()) for _ in range(5))
            refuse_connections(bound)

        monkeypatch.setattr(server, "_refuse_connections", just_before)
        address = service.client.base_url.host, service.client.base_url.port
    assert [status(connection) for connection in waiting] == [REFUSED] * 5
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=30)


@linux
def test_the_filter_drops_who_comes_and_spares_who_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        before = socket.create_connection(bound.getsockname())
        server._refuse_connections(bound)
        late = socket.socket()
        late.settimeout(0)
        late.connect_ex(bound.getsockname())
        accepted, _ = bound.accept()
        before.sendall(b"still here")
        assert accepted.recv(16) == b"still here"
        bound.settimeout(0)
        with pytest.raises(BlockingIOError):
            bound.accept()
        for one in (before, accepted, late):
            one.close()


def test_a_connection_whose_request_is_still_on_its_way_is_heard_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed, asked = threading.Event(), Server._awaits_first_request

    def after_the_port(self: Server) -> bool:
        closed.set()
        return asked(self)

    monkeypatch.setattr(Server, "_awaits_first_request", after_the_port)
    monkeypatch.setattr(server, "_FIRST_REQUEST_SECONDS", 60.0)
    answers: list[bytes] = []

    def ask(service: Live, silent: socket.socket) -> None:
        assert closed.wait(60)
        silent.sendall(b"GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n")
        answers.append(status(silent))

    with live() as service:
        host, port = service.client.base_url.host, service.client.base_url.port
        silent = socket.create_connection((host, port))
        service.until(lambda: len(service.server.server_state.connections) >= 2)
        asking = threading.Thread(target=ask, args=(service, silent))
        asking.start()
    asking.join(60)
    assert answers == [REFUSED]


def test_a_connection_that_never_asks_holds_up_the_end_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_FIRST_REQUEST_SECONDS", 0.01)
    with live() as service:
        host, port = service.client.base_url.host, service.client.base_url.port
        silent = socket.create_connection((host, port))
    assert silent.recv(1) == b""
    silent.close()


def test_a_second_signal_answers_an_upload_that_the_end_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is computed: the drain is over at once, and the port closed, when it comes."""
    closed = threading.Event()
    monkeypatch.setattr(server, "_refuse_connections", lambda _: closed.set())
    with live() as service:
        uploading = service.raw(npy()[:1000], length=10**6)
        service.until(lambda: len(service.server.server_state.tasks) > 0)
        service.server.handle_exit(signal.SIGTERM, None)
        assert closed.wait(60)
        service.server.handle_exit(signal.SIGTERM, None)
        assert status(uploading) == REFUSED
