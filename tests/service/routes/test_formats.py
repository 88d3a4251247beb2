"""Formats over HTTP: the headers about rate and type, and the Accept header."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.service.asking import post
from tests.service.wire.test_formats import read


@pytest.mark.parametrize(("name", "rate"), [("wav", 8000), ("opus", 48_000), ("pcm_f32", 16_000)])
def test_the_service_resamples_where_asked(client: TestClient, name: str, rate: int) -> None:
    plain, other = post(client, format="wav"), post(client, format=name, sample_rate=rate)
    assert other.status_code == 200, other.text
    assert other.headers["x-sample-rate"] == str(rate)
    assert other.headers["x-audio-seconds"] == plain.headers["x-audio-seconds"]
    back, said = read(other.content, name, rate)
    assert said == rate
    assert len(back) == pytest.approx(rate * float(plain.headers["x-audio-seconds"]), abs=1)
    assert "x-warning" not in other.headers


def test_the_service_says_what_a_format_made_of_the_rate(client: TestClient) -> None:
    answer = post(client, format="opus")
    assert answer.headers["content-type"] == "audio/ogg; codecs=opus"
    assert answer.headers["x-sample-rate"] == "24000"
    assert answer.headers["x-warning"] == (
        "resampled from 22050 to 24000 Hz: opus does not support 22050 Hz"
    )


def test_the_service_answers_406_unless_a_format_is_named(client: TestClient) -> None:
    client.headers["Accept"] = "image/png"
    try:
        assert post(client).status_code == 406
        assert post(client, format="mp3").headers["content-type"] == "audio/mpeg"
        assert post(client, output="stft").status_code == 200
    finally:
        client.headers["Accept"] = "*/*"
