"""In front of Ray's proxy, with a proxy that is made up: what is lost is sent again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from unmel.service.cluster import front
from unmel.service.cluster.front import Front

Step = Callable[[bytes, Scope, Send], Awaitable[None]]


async def lost(body: bytes, scope: Scope, send: Send) -> None:
    """What Ray does when a replica dies: it returns, and has said nothing."""


async def busy(body: bytes, scope: Scope, send: Send) -> None:
    """Ray's own refusal."""
    headers = [(b"content-type", b"text/plain"), (b"retry-after", b"7")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"Request dropped due to backpressure"})


async def echo(body: bytes, scope: Scope, send: Send) -> None:
    """The service, with its id and the proxy's."""
    headers = [(b"content-type", b"audio/wav"), (b"x-request-id", b"a"), (b"X-Request-ID", b"b")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Proxy:
    """Takes one step an attempt, the last one for ever; counts them."""

    def __init__(self, *steps: Step) -> None:
        self.steps, self.attempts = steps, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        step = self.steps[min(self.attempts, len(self.steps) - 1)]
        self.attempts += 1
        await step(body, scope, send)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_PAUSE_SECONDS", 0.0)


def test_a_lost_request_is_sent_again_with_its_whole_body() -> None:
    proxy = Proxy(lost, lost, echo)
    answer = TestClient(Front(proxy)).post("/reconstruct", content=iter([b"one", b"two"]))
    assert (answer.status_code, answer.content, proxy.attempts) == (200, b"onetwo", 3)


def test_an_answer_has_one_id_the_services() -> None:
    answer = TestClient(Front(Proxy(echo))).post("/reconstruct", content=b"x")
    assert answer.headers.get_list("x-request-id") == ["a"]


def test_what_stays_lost_is_a_clean_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_RETRY_SECONDS", 0.0)
    answer = TestClient(Front(Proxy(lost))).post(
        "/reconstruct", content=b"x", headers={"X-Request-ID": "mine"}
    )
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine"


def test_a_body_too_large_to_keep_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_KEPT_BYTES", 4)
    proxy = Proxy(lost, echo)
    answer = TestClient(Front(proxy)).post("/reconstruct", content=iter([b"one", b"two"]))
    assert (answer.status_code, proxy.attempts) == (503, 1)


def test_the_proxys_refusal_is_said_as_the_services() -> None:
    proxy = Proxy(busy)
    answer = TestClient(Front(proxy)).get("/presets")
    assert (answer.status_code, proxy.attempts) == (503, 1)
    assert answer.headers["retry-after"] == "7"
    assert json.loads(answer.content)["detail"] == "No replica has room."


def test_the_services_own_refusal_passes() -> None:
    async def refuse(body: bytes, scope: Scope, send: Send) -> None:
        headers = [(b"content-type", b"application/problem+json")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    answer = TestClient(Front(Proxy(refuse))).get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"{}")


def test_an_attempt_does_not_see_what_the_last_one_added() -> None:
    seen: list[int] = []

    async def add(body: bytes, scope: Scope, send: Send) -> None:
        seen.append(len(scope["headers"]))
        scope["headers"].append((b"x-request-id", b"made"))
        if len(seen) > 1:
            await echo(body, scope, send)

    TestClient(Front(Proxy(add))).post("/reconstruct", content=b"x")
    assert seen[0] == seen[1]


def test_a_stream_whose_replica_is_lost_is_closed_as_failed() -> None:
    async def drop(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    with TestClient(Front(drop)).websocket_connect("/stream") as stream:
        assert stream.receive()["code"] == 1011
