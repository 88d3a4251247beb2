"""POST /analyze: audio to the mel that POST /reconstruct takes."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from tests.service.asking import MEL, NPY, SAMPLES, post, problem, read
from tests.service.live import live
from tests.signals import voice


def wav(wave: np.ndarray, rate: int = 22050) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_analyze_gives_the_mel_that_reconstruct_takes(client: TestClient) -> None:
    form = {"audio": ("a.wav", wav(voice(0.5)))}
    answer = client.post("/analyze", files=form, data={"config": "hifigan-22k"})
    assert answer.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), MEL)
    raw = client.post(
        "/analyze?config=hifigan-22k",
        content=wav(voice(0.5)),
        headers={"Content-Type": "audio/wav"},
    )
    assert raw.content == answer.content
    assert len(read(post(client, answer.content))) == SAMPLES


def test_analyze_resamples_and_says_so(client: TestClient) -> None:
    form = {"audio": ("a.wav", wav(voice(0.5, 44100), 44100))}
    answer = client.post("/analyze", files=form, data={"config": "whisper-80"})
    assert np.load(io.BytesIO(answer.content)).shape == (80, 50)
    assert answer.headers["x-warning"] == "resampled from 44100 to 16000 Hz"
    empty = client.post("/analyze", files=form, data={"config": "torchaudio"})
    assert "hold no bin" in empty.headers.get_list("x-warning")[1]


def test_analyze_refuses_what_it_cannot_use(client: TestClient) -> None:
    config = {"config": "hifigan-22k"}
    problem(client.post("/analyze", files={"audio": b"junk"}, data=config), 400, "audio")
    problem(client.post("/analyze", files={"mel": b"junk"}, data=config), 422, "audio")
    problem(client.post("/analyze", files={"audio": wav(voice(0.5))}), 422, "config")
    problem(client.post("/analyze", content=b"x", headers=NPY), 415, "Content-Type")
    short = wav(np.zeros(100, np.float32))
    problem(client.post("/analyze", files={"audio": short}, data=config), 422, "audio")
    long = wav(np.zeros(2001 * 256, np.float32))[: 2 * 2**20 - 2000]
    problem(client.post("/analyze", files={"audio": long}, data=config), 413, "audio")


@pytest.mark.loops
def test_an_analysis_takes_its_turn_in_the_queue_and_has_a_deadline() -> None:
    """The only lane is busy: one waits for it, another cannot be answered in time."""
    form = {"audio": ("a.wav", wav(voice(0.5)))}
    with live() as service:
        [busy] = service.busy()

        def ask(**headers: str) -> httpx.Response:
            return service.client.post("/analyze?config=hifigan-22k", files=form, headers=headers)

        waits = service.pool.submit(ask)
        service.until(lambda: service.lanes.waiting == 1)
        late = ask(**{"X-Deadline-Ms": "30"})
        assert late.status_code in (503, 504)
        service.engine.gate.set()
        assert busy.result().status_code == 200
        answer = waits.result()
        assert answer.status_code == 200
        assert "compute" in answer.headers["server-timing"]
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), MEL)
        heard = service.metric("audio_seconds_total")
        assert ask().status_code == 200
        assert service.metric("audio_seconds_total") == heard  # a mel is no audio
        service.assert_in_order()
