"""HEAD, OPTIONS and Allow on every path, as RFC 9110 has them."""

from __future__ import annotations

import logging
import socket

import pytest
from fastapi.testclient import TestClient

from tests.service.live import live

GETS = (
    "/",
    "/static/page.js",
    "/presets",
    "/presets/hifigan-22k",
    "/methods",
    "/livez",
    "/readyz",
    "/metrics",
    "/progress/abc",
    "/openapi.json",
    "/docs",
    "/redoc",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/hifigan-22k",
    "/v2/models/hifigan-22k/versions/1",
    "/v2/models/hifigan-22k/ready",
)
POSTS = ("/reconstruct", "/analyze", "/v2/models/hifigan-22k/infer")
# Values that differ from one answer to the next.
VOLATILE = {"x-request-id", "date"}


@pytest.mark.parametrize("path", [*GETS, "/presets/none", "/v2/models/none", "/none"])
def test_head_has_the_status_and_headers_of_get_and_no_body(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    volatile = VOLATILE | ({"content-length"} if b"request_id" in got.content else set())
    if path == "/metrics":  # it counts the question
        volatile.add("content-length")
    got_headers, head_headers = (
        {name: value for name, value in answer.headers.items() if name not in volatile}
        for answer in (got, head)
    )
    assert head_headers == got_headers
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("path", GETS)
def test_options_of_what_is_read_allow_get_and_head(client: TestClient, path: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("path", POSTS)
def test_options_of_what_is_asked_allow_post(client: TestClient, path: str) -> None:
    assert client.options(path).headers["allow"] == "OPTIONS, POST"


def test_options_of_nothing_are_a_404(client: TestClient) -> None:
    assert client.options("/none").status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_a_method_that_a_path_has_not_is_told_those_that_it_has(
    client: TestClient, method: str
) -> None:
    answer = client.request(method, "/presets")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_only_takes_post_says_so_to_get_and_head(
    client: TestClient, method: str, path: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert bool(answer.content) == (method == "GET")


def test_the_log_and_the_metrics_name_method_and_route(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "unmel.access")
    client.head("/presets/hifigan-22k")
    [line] = [record for record in caplog.records if record.name == "unmel.access"]
    assert (line.method, line.route, line.status) == ("HEAD", "/presets/{name}", 200)


def test_on_the_wire_nothing_follows_the_head_and_the_connection_stays() -> None:
    """OPTIONS * asks for the whole server."""
    with live() as service:
        address = (service.client.base_url.host, service.client.base_url.port)
        with socket.create_connection(address, timeout=30) as connection:
            for method, target in (
                ("HEAD", "/presets"),
                ("OPTIONS", "*"),
                ("HEAD", "/reconstruct"),
            ):
                connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            heard = b"".join(iter(lambda: connection.recv(2**16), b""))
    answers = heard.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"204", b"405", b"200"]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers[:3]] == [b""] * 3
    assert b"allow: GET, HEAD, OPTIONS, POST" in answers[1]
