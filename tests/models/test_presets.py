"""Presets: each row of the table against an implementation that is not the project's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SpeechT5FeatureExtractor, WhisperFeatureExtractor

from benchmarks.peers import extract
from models.analysis import analyze
from models.errors import Invalid
from models.plan import build_plan
from models.presets import PRESETS, preset
from tests.signals import voice

CPU = torch.device("cpu")


def mel_of(name: str, wave: np.ndarray) -> np.ndarray:
    return analyze(build_plan(preset(name).config, CPU, torch.float64), wave)


@pytest.mark.parametrize("name", PRESETS)
def test_analyze_equals_the_extractor_built_from_librosa(name: str) -> None:
    config = preset(name).config
    wave = voice(0.7, config.sample_rate)
    ours, theirs = mel_of(name, wave), extract(config, wave).values
    assert ours.shape == theirs.shape
    # librosa works in float32: what it rounds off is largest, in logs, near the floor.
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3 * scale)
    assert np.abs(ours - theirs).mean() < 2e-5 * scale


@pytest.mark.parametrize(("name", "bands"), [("whisper-80", 80), ("whisper-128", 128)])
def test_whisper_presets_equal_the_feature_extractor_of_transformers(name: str, bands: int) -> None:
    wave = voice(1.0, 16000)
    extractor = WhisperFeatureExtractor(feature_size=bands)
    theirs = extractor(
        wave, sampling_rate=16000, padding="do_not_pad", return_tensors="np"
    ).input_features[0]
    np.testing.assert_allclose(mel_of(name, wave), theirs, atol=1e-4)


def test_speecht5_preset_equals_the_feature_extractor_of_transformers() -> None:
    wave = voice(1.0, 16000)
    theirs = SpeechT5FeatureExtractor()(
        audio_target=wave, sampling_rate=16000, return_tensors="np"
    ).input_values[0]
    np.testing.assert_allclose(mel_of("speecht5-16k", wave).T, theirs, atol=1e-4)


def test_every_preset_names_its_project_and_source() -> None:
    for name, row in PRESETS.items():
        assert row.name == name
        assert row.project
        assert row.source


def test_an_unknown_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(Invalid, match="hifigan-22k") as caught:
        preset("hifigan")
    assert caught.value.field == "config"
