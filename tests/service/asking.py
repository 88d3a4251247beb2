"""How the routes' tests ask and read answers: a mel to post, options, problems."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile
from fastapi.testclient import TestClient

from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS

NPY = {"Content-Type": "application/x-npy"}
HIFIGAN = PRESETS["hifigan-22k"].config
MEL = analyze(Engine().plans.get(HIFIGAN), voice(0.5))
SAMPLES = MEL.shape[1] * 256


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def post(client: TestClient, body: bytes = npy(MEL), **options: Any) -> Any:
    options = {"config": "hifigan-22k", "n_iter": 4, **options}
    return client.post("/reconstruct", params=options, content=body, headers=NPY)


def read(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    wave, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate == int(answer.headers["X-Sample-Rate"])
    return np.asarray(wave)


def problem(answer: Any, status: int, field: str | None) -> dict[str, Any]:
    """Check a refusal's form; the problem itself comes back."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    if field is not None:
        assert body["field"] == field
        assert body["got"]
        assert body["expected"]
    return body
