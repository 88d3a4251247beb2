"""The client in examples/, with mels of real feature extractors; and who is told what fits."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import re
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from transformers import SpeechT5FeatureExtractor, WhisperFeatureExtractor

from tests.root import ROOT
from tests.service.asking import MEL
from tests.signals import voice
from unmel.models.mel.presets import PRESETS

CLIENT = ROOT / "examples" / "unmel_client.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unmel_client", CLIENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client = load()
WAVE = voice(0.9, 16_000)


def test_the_client_is_short_enough_to_paste() -> None:
    assert len(CLIENT.read_text().splitlines()) < 100


def test_a_mel_of_speecht5s_feature_extractor_comes_back_as_the_clip(
    service: Any, url: str
) -> None:
    mel = SpeechT5FeatureExtractor()(audio_target=WAVE, sampling_rate=16_000)["input_values"][0]
    audio, rate = service.reconstruct(mel, "speecht5-16k")
    assert rate == 16_000
    assert_alike(audio, WAVE, mel, "speecht5-16k", url)


def test_a_mel_of_whispers_feature_extractor_comes_back_as_the_clip(service: Any, url: str) -> None:
    mel = WhisperFeatureExtractor()(WAVE, sampling_rate=16_000, padding=False)["input_features"][0]
    audio, rate = service.reconstruct(mel, "whisper-80")
    assert rate == 16_000
    assert_alike(audio, WAVE, mel, "whisper-80", url)


@pytest.fixture(scope="module")
def service(url: str) -> Any:
    made = client.Unmel(url)
    yield made
    made.close()


def assert_alike(
    audio: np.ndarray, wave: np.ndarray, mel: np.ndarray, preset: str, url: str
) -> None:
    """Analysed again it has the mel it was made of, but for what lies near the floor."""
    assert abs(len(audio) - len(wave)) <= PRESETS[preset].config.hop_length
    mel = mel if mel.shape[0] == 80 else mel.T
    stream = io.BytesIO()
    soundfile.write(stream, audio, 16_000, format="WAV", subtype="FLOAT")
    answer = httpx.post(
        f"{url}/analyze",
        params={"config": preset},
        content=stream.getvalue(),
        headers={"Content-Type": "audio/wav"},
    )
    again = np.load(io.BytesIO(answer.content))
    frames = min(mel.shape[1], again.shape[1])
    mel, again = mel[:, :frames], again[:, :frames]
    loud = mel > mel.max() - 0.3 * (mel.max() - mel.min())
    assert np.corrcoef(mel[loud], again[loud])[0, 1] > 0.95


def test_sync_and_async_give_the_same_and_take_options(service: Any) -> None:
    audio, _ = service.reconstruct(MEL, "hifigan-22k", n_iter=2, seed=5)

    async def several() -> list[tuple[np.ndarray, int]]:
        try:
            return await asyncio.gather(
                *(service.areconstruct(MEL, "hifigan-22k", n_iter=2, seed=5) for _ in range(3))
            )
        finally:
            await service.aclose()

    for again, rate in asyncio.run(several()):
        np.testing.assert_array_equal(again, audio)
        assert rate == 22_050


def test_a_refusal_has_the_services_words_and_the_presets_that_fit(service: Any) -> None:
    mel = WhisperFeatureExtractor()(WAVE, sampling_rate=16_000, padding=False)["input_features"][0]
    with pytest.raises(client.UnmelError, match="these values would fit whisper-80") as caught:
        service.reconstruct(mel, "bigvgan-24k")
    assert caught.value.status == 422
    assert caught.value.problem["field"] == "mel"
    assert caught.value.fits[0] == "whisper-80"


def busy(times: int) -> tuple[Any, list[int]]:
    """A transport that is busy for so many requests, and what it answered."""
    answered: list[int] = []

    def answer(_: httpx.Request) -> httpx.Response:
        answered.append(503 if len(answered) < times else 200)
        headers = {"Retry-After": "0", "X-Sample-Rate": "16000"}
        return httpx.Response(answered[-1], headers=headers, content=b"")

    return httpx.MockTransport(answer), answered


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_busy_service_is_asked_again_but_not_for_ever(*, asynchronous: bool) -> None:
    def ask(transport: Any) -> Any:
        service = client.Unmel("http://test", transport=transport)
        if asynchronous:
            return asyncio.run(service.areconstruct(MEL, "hifigan-22k"))
        return service.reconstruct(MEL, "hifigan-22k")

    transport, answered = busy(2)
    assert ask(transport)[1] == 16_000
    assert answered == [503, 503, 200]
    transport, answered = busy(99)
    with pytest.raises(client.UnmelError, match="503"):
        ask(transport)
    assert answered == [503] * client.TRIES


def test_the_docs_name_the_preset_of_every_family() -> None:
    text, _, _ = (ROOT / "docs" / "presets.md").read_text().partition("## A front-end without")
    rows = re.findall(r"^\|[^|]+\|([^|]*`[^|]*)\|", text, flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == set(PRESETS)
