"""Requests of mixed configs and lengths, with the answers that one process gives."""

from __future__ import annotations

import io
from dataclasses import dataclass

import httpx
import numpy as np
from fastapi.testclient import TestClient

from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings

NPY = {"Content-Type": "application/x-npy"}
PRESET_NAMES = ("hifigan-22k", "vocos-24k", "whisper-80")


@dataclass(frozen=True)
class Job:
    """A request that can be sent anywhere, and what it must be answered with."""

    params: dict[str, str | int]
    body: bytes
    expected: bytes = b""

    def post(self, client: httpx.Client | TestClient, **headers: str) -> httpx.Response:
        return client.post(
            "/reconstruct", params=self.params, content=self.body, headers={**NPY, **headers}
        )


def mel(preset: str, frames: int, seed: int = 0) -> bytes:
    """`[K, T]` of the preset, about as loud as speech."""
    stream = io.BytesIO()
    shape = (PRESETS[preset].config.n_mels, frames)
    values = np.random.default_rng(seed).uniform(-1.0, 0.0, shape)
    np.save(stream, values.astype(np.float32))
    return stream.getvalue()


def jobs_with_answers() -> list[Job]:
    """Mixed lengths and configs."""
    asked = [
        Job({"config": preset, "quality": "draft", "seed": seed}, mel(preset, frames, seed))
        for seed, frames in enumerate((40, 90, 200))
        for preset in PRESET_NAMES
    ]
    with TestClient(create_app(Settings(lanes=1, warm_presets=()), Engine())) as alone:
        answers = [job.post(alone) for job in asked]
    assert {answer.status_code for answer in answers} == {200}
    return [
        Job(job.params, job.body, answer.content)
        for job, answer in zip(asked, answers, strict=True)
    ]
