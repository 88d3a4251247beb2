"""A client of Unmel to paste into a TTS codebase: mel in, samples out, sync and async. MIT licence.

    from unmel_client import Unmel
    audio, rate = Unmel("http://localhost:8000").reconstruct(mel, "hifigan-22k", quality="high")

Needs httpx and numpy. from_speecht5.py uses it with a mel of a real feature extractor.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from typing import Any

import httpx
import numpy as np

TRIES = 4


class UnmelError(Exception):
    """A refusal; `problem` has the field, `fits` the presets that the mel would fit."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem, self.fits = status, problem, problem.get("fits", [])
        super().__init__(f"{status}: {problem.get('detail', 'no answer that says more')}")


def _request(mel: Any, config: str, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of httpx for a mel `[n_mels, frames]`, an array or a tensor on the CPU."""
    body = io.BytesIO()
    np.save(body, np.asarray(mel, dtype=np.float32))
    return {
        "url": "/reconstruct",
        "params": {**options, "config": config, "format": "pcm_f32"},
        "content": body.getvalue(),
        "headers": {"Content-Type": "application/x-npy"},
    }


def _samples(answer: httpx.Response) -> tuple[np.ndarray, int]:
    if answer.status_code != 200:
        is_json = "json" in answer.headers.get("content-type", "")
        raise UnmelError(answer.status_code, answer.json() if is_json else {})
    return np.frombuffer(answer.content, "<f4"), int(answer.headers["x-sample-rate"])


def _pause(answer: httpx.Response, attempt: int) -> float | None:
    """Seconds to wait before the next attempt where the service is busy, else None."""
    if answer.status_code != 503 or attempt + 1 == TRIES:
        return None
    return float(answer.headers.get("retry-after", 1)) * random.uniform(1.0, 1.5)  # noqa: S311


class Unmel:
    """Keep one client for the life of the program: its connections stay open."""

    def __init__(self, url: str = "http://localhost:8000", key: str = "", **more: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._settings = {"base_url": url, "headers": headers, "timeout": 600, **more}
        self._client = httpx.Client(**self._settings)
        self._async_client = httpx.AsyncClient(**self._settings)

    def reconstruct(self, mel: Any, config: str, **options: Any) -> tuple[np.ndarray, int]:
        """Return samples `[L]` and their rate; options are those of `POST /reconstruct`."""
        for attempt in range(TRIES):
            answer = self._client.post(**_request(mel, config, options))
            if (pause := _pause(answer, attempt)) is None:
                break
            time.sleep(pause)
        return _samples(answer)

    async def areconstruct(self, mel: Any, config: str, **options: Any) -> tuple[np.ndarray, int]:
        """Return the same as `reconstruct`, for asyncio."""
        for attempt in range(TRIES):
            answer = await self._async_client.post(**_request(mel, config, options))
            if (pause := _pause(answer, attempt)) is None:
                break
            await asyncio.sleep(pause)
        return _samples(answer)

    def close(self) -> None:
        """Close the connections of `reconstruct`."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections of `areconstruct`."""
        await self._async_client.aclose()
