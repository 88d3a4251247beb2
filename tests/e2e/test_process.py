"""One real process, end to end: start, the README's two requests, ten at once, SIGTERM."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import soundfile

from benchmarks.server import service_process
from tests.root import ROOT
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS

pytestmark = [pytest.mark.process, pytest.mark.loops]

CLIP = ROOT / "examples" / "clip.wav"
NPY = {"Content-Type": "application/x-npy"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with service_process(UNMEL_LANES="2", UNMEL_WARM_PRESETS='["hifigan-22k"]') as (url, process):
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def mel(seconds: float, seed: int) -> bytes:
    plan = Engine().plans.get(PRESETS["hifigan-22k"].config)
    stream = io.BytesIO()
    np.save(stream, analyze(plan, voice(seconds, seed=seed)))
    return stream.getvalue()


def reconstruct(url: str, body: bytes, seed: int, **options: str) -> httpx.Response:
    answer = httpx.post(
        f"{url}/reconstruct",
        params={"config": "hifigan-22k", "seed": seed, **options},
        content=body,
        headers=NPY,
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    return answer


def test_the_round_trip_of_the_readme_gives_a_playable_file_of_the_right_length(url: str) -> None:
    made = httpx.post(
        f"{url}/analyze",
        files={"audio": ("clip.wav", CLIP.read_bytes())},
        data={"config": "hifigan-22k"},
        timeout=60,
    )
    assert made.status_code == 200
    original, rate = soundfile.read(CLIP)
    wave, made_rate = soundfile.read(io.BytesIO(reconstruct(url, made.content, 0).content))
    assert made_rate == rate == 22050
    assert len(wave) == len(original) // 256 * 256
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=0.1)


def test_ten_requests_in_flight_are_packed_and_each_has_the_bytes_of_its_solo_run(
    url: str,
) -> None:
    jobs = [(mel(0.3 + 0.17 * k, k), k) for k in range(10)]
    alone = [reconstruct(url, body, seed).content for body, seed in jobs]
    with ThreadPoolExecutor(10) as pool:
        together = list(pool.map(lambda job: reconstruct(url, *job), jobs))
    assert [answer.content for answer in together] == alone
    assert max(int(answer.headers["x-pack-items"]) for answer in together) > 1


def test_the_event_loop_answers_while_the_lanes_compute(url: str) -> None:
    body = mel(4.0, 0)
    with ThreadPoolExecutor(2) as pool:
        long = [pool.submit(reconstruct, url, body, seed, quality="high") for seed in (0, 1)]
        asked = 0
        while not all(job.done() for job in long):
            assert httpx.get(f"{url}/livez", timeout=5).status_code == 200
            asked += 1
    assert asked > 3


def test_wrong_settings_end_the_process_with_the_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unmel.service"],
        env={"UNMEL_LANES": "many"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "UNMEL_LANES: got 'many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_accepted_is_answered_when_the_process_is_told_to_stop() -> None:
    with (
        service_process(UNMEL_LANES="1", UNMEL_WARM_PRESETS="[]") as (url, process),
        ThreadPoolExecutor(4) as pool,
    ):
        body = mel(2.0, 1)
        jobs = [pool.submit(reconstruct, url, body, seed) for seed in range(4)]
        # The first answer shows that the others, sent with it, have been accepted too.
        next(job for job in jobs if job.result())
        process.send_signal(signal.SIGTERM)
        assert [job.result().status_code for job in jobs] == [200] * 4
        assert process.wait(30) == 0
