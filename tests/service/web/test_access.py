"""Who may use the service, what browsers may do with its answers, and the lines of its log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from starlette.websockets import WebSocketDisconnect

from tests.service.live import npy
from unmel.models.engine.engine import Engine
from unmel.service.app import create_app
from unmel.service.ops import logs
from unmel.service.ops.keys import OPEN_PATHS
from unmel.service.ops.settings import Settings

KEY, OTHER = "0123456789abcdef-one", "0123456789abcdef-two"
ORIGIN = "https://voices.example"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    settings = Settings(
        lanes=1,
        warm_presets=(),
        api_keys=SecretStr(f"{KEY},team-b:{OTHER}"),
        cors_origins=(ORIGIN,),
    )
    with TestClient(create_app(settings, Engine())) as client:
        yield client


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_known_key_lets_a_request_in(guarded: TestClient, key: str, scheme: str) -> None:
    answer = guarded.post(
        "/reconstruct?config=hifigan-22k&n_iter=1",
        content=npy(),
        headers={"Authorization": f"{scheme} {key}", "Content-Type": "application/x-npy"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, 'Bearer realm="unmel"'),
        ({"Authorization": f"Basic {KEY}"}, 'Bearer realm="unmel"'),
        ({"Authorization": KEY}, 'Bearer realm="unmel"'),
        (bearer(KEY[:-1]), 'Bearer realm="unmel", error="invalid_token"'),
        (bearer(f"{KEY}x"), 'Bearer realm="unmel", error="invalid_token"'),
        (bearer(""), 'Bearer realm="unmel", error="invalid_token"'),
        (bearer(f"{KEY},{OTHER}"), 'Bearer realm="unmel", error="invalid_token"'),
        ({"Authorization": "Bearer ü".encode()}, 'Bearer realm="unmel", error="invalid_token"'),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/docs", "/openapi.json", "/nope", "/livez/"])
def test_without_one_every_path_but_the_open_ones_asks_for_it(
    guarded: TestClient, path: str, headers: dict[str, str], challenge: str
) -> None:
    answer = guarded.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == challenge
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert KEY not in answer.text


def test_those_who_keep_the_process_alive_need_no_key(guarded: TestClient) -> None:
    assert {guarded.get(path).status_code for path in OPEN_PATHS} <= {200, 503}
    assert guarded.get("/livez").status_code == 200


def test_a_body_without_a_key_is_not_read(guarded: TestClient) -> None:
    def body() -> Iterator[bytes]:
        yield b"x" * 1000
        raise AssertionError("read on")

    answer = guarded.post("/reconstruct", content=body())
    assert answer.status_code == 401


def test_the_document_says_where_a_key_is_asked_for(guarded: TestClient) -> None:
    document = guarded.get("/openapi.json", headers=bearer(KEY)).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            asked = path not in OPEN_PATHS
            assert ("security" in operation, "401" in operation["responses"]) == (asked, asked)


def test_no_key_is_asked_for_where_none_is_set(client: TestClient) -> None:
    assert client.get("/metrics").status_code == 200
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


# --- browsers -----------------------------------------------------------------------------------


def test_pages_of_the_named_origins_may_use_the_service(guarded: TestClient) -> None:
    preflight = guarded.options(
        "/reconstruct",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-deadline-ms",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    for headers in (bearer(KEY), {}):  # a refusal can be read there too
        answer = guarded.get("/presets", headers={"Origin": ORIGIN, **headers})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "X-Gain" in answer.headers["access-control-expose-headers"]
    strange = guarded.get("/presets", headers={"Origin": "https://evil.example", **bearer(KEY)})
    assert "access-control-allow-origin" not in strange.headers


def test_no_other_origin_may_unless_the_settings_say_so(client: TestClient) -> None:
    answer = client.get("/presets", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/presets", "/nope", "/livez", "/docs"])
def test_every_answer_keeps_browsers_from_making_more_of_it(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert ("cdn.jsdelivr.net" in headers["content-security-policy"]) == (path == "/docs")


# --- the log ------------------------------------------------------------------------------------


@pytest.fixture
def lines(client: TestClient) -> Iterator[io.StringIO]:
    """The log as it is written: the root logger's, with uvicorn's form and ours."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def test_a_request_is_one_line_of_json_with_its_id(client: TestClient, lines: io.StringIO) -> None:
    answer = client.post(
        "/reconstruct?config=hifigan-22k&n_iter=1",
        content=npy(),
        headers={"Content-Type": "application/x-npy", "X-Request-ID": "abc-123"},
    )
    assert answer.status_code == 200
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    [line] = [line for line in written if line["logger"] == "unmel.access"]
    assert line["request_id"] == "abc-123"
    assert (line["method"], line["path"], line["status"]) == ("POST", "/reconstruct", 200)
    assert line["seconds"] >= line["compute_seconds"] > 0
    assert {"decode_seconds", "queue_seconds", "encode_seconds", "client", "time"} <= set(line)
    assert line["key"] == "none"


def open_a_faulty_stream(client: TestClient, headers: dict[str, str]) -> None:
    with client.websocket_connect("/stream", headers=headers) as socket:
        socket.send_json({"config": "nope"})
        socket.receive_text()


@pytest.mark.parametrize(
    ("headers", "label"), [(bearer(KEY), "unlabelled"), (bearer(OTHER), "team-b"), ({}, "none")]
)
def test_a_request_and_a_stream_are_named_by_their_keys_label_and_never_by_the_key(
    guarded: TestClient, lines: io.StringIO, headers: dict[str, str], label: str
) -> None:
    guarded.get("/presets", headers=headers)
    guarded.get(f"/nope/{OTHER[:5]}", headers=headers)
    with pytest.raises(WebSocketDisconnect) as closed:
        open_a_faulty_stream(guarded, headers)
    assert closed.value.code == 1008
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    named = [(line["message"], line["key"]) for line in written if "key" in line]
    assert named == [("request", label), ("request", label), ("stream", label)]
    shown = guarded.get("/metrics", headers=bearer(KEY)).text
    assert f'unmel_streams_ended_total{{code="1008",key="{label}"}} 1.0' in shown
    for key in (KEY, OTHER):
        assert key not in lines.getvalue() + shown


def test_a_path_cannot_forge_a_line_of_the_log(client: TestClient, lines: io.StringIO) -> None:
    client.get("/foo%0Aforged%1b[31m")
    written = lines.getvalue().splitlines()
    assert all(json.loads(line) for line in written)
    assert all(line.isprintable() for line in written)


def test_lines_written_for_a_request_carry_its_id(
    client: TestClient, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unmel.service.wire.requests.accept_mel", lambda *_: 1 / 0)
    client.post(
        "/reconstruct?config=hifigan-22k",
        content=npy(),
        headers={"Content-Type": "application/x-npy", "X-Request-ID": "abc-124"},
    )
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    [failure] = [line for line in written if line["logger"] == "unmel.problems"]
    assert failure["request_id"] == "abc-124"
    assert "ZeroDivisionError" in failure["exception"]
