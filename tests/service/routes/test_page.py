"""The page's files: sent once, asked for again by their ETag, and nothing beside their folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from pydantic import SecretStr

from tests.root import ROOT
from tests.service.asking import problem
from unmel.models.engine.engine import Engine
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings
from unmel.service.routes import page

FILES = sorted(path.name for path in (Path(page.__file__).parent / "static").iterdir())
TYPES = {
    "/": "text/html",
    ".html": "text/html",
    ".css": "text/css",
    ".js": "javascript",
    ".svg": "image/svg+xml",
    ".flac": "audio/flac",
}
PATHS = ["/", *(f"/static/{name}" for name in FILES)]


@pytest.fixture(scope="module")
def guarded() -> TestClient:
    """A service that has not been started, which the page does not need, and asks for a key."""
    settings = Settings(lanes=1, warm_presets=(), api_keys=SecretStr("0123456789abcdef"))
    return TestClient(create_app(settings, Engine()))


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_has_not_changed_is_not_sent_again(guarded: TestClient, path: str) -> None:
    first = guarded.get(path)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    assert TYPES[Path(path).suffix or path] in first.headers["content-type"]
    validators = {
        "If-None-Match": first.headers["etag"],
        "If-Modified-Since": first.headers["last-modified"],
    }
    for name, value in validators.items():
        again = guarded.get(path, headers={name: value})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["cache-control"] == "no-cache"
        assert again.headers["x-content-type-options"] == "nosniff"
    changed = guarded.get(path, headers={"If-None-Match": '"another"'})
    assert changed.content == first.content


def test_the_example_is_the_repositorys_clip(guarded: TestClient) -> None:
    heard, rate = soundfile.read(io.BytesIO(guarded.get("/static/example.flac").content))
    clip, clip_rate = soundfile.read(ROOT / "examples" / "clip.wav")
    np.testing.assert_array_equal(heard, clip)
    assert rate == clip_rate


def test_a_head_request_tells_all_but_the_file(guarded: TestClient) -> None:
    for path in PATHS:
        head, whole = guarded.head(path), guarded.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-length", "content-type", "etag"):
            assert head.headers[name] == whole.headers[name]
    problem(guarded.post("/static/page.js"), 405, None)


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "%2e",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "..%5capp.py",
        "%2e%2e",
        "%2fetc%2fpasswd",
        "page.js%00",
        "n" * 300,
        "..%2fmetrics",
    ],
)
def test_what_is_no_file_of_the_folder_is_not_found(guarded: TestClient, name: str) -> None:
    problem(guarded.get(f"/static/{name}"), 404, None)


def test_the_page_allows_itself_nothing_from_elsewhere_and_nothing_inline(
    guarded: TestClient,
) -> None:
    answer = guarded.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in policy
    for inline in ("<style", "style=", "onclick", "<script>", "//"):
        assert inline not in answer.text.replace("http-equiv", ""), inline
    script = guarded.get("/static/page.js").headers["content-security-policy"]
    assert script.startswith("default-src 'none'; frame")
