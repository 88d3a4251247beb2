"""A square mel: the likelier layout is taken, and a warning says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.signals import speech
from unmel.models.engine.analysis import analyze
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.validate import check_mel
from unmel.models.signal.plan import build_plan


@pytest.mark.parametrize("name", ["hifigan-22k", "speecht5-16k", "coqui-22k", "librosa"])
def test_a_square_mel_of_speech_is_read_right_in_both_layouts(name: str) -> None:
    config = PRESETS[name].config
    plan, bands = build_plan(config, torch.device("cpu")), config.n_mels
    mel = analyze(plan, speech(4.0, config.sample_rate))[:, 20 : 20 + bands]
    for array, taken in ((mel, "bands_first"), (mel.T, "frames_first")):
        checked = check_mel(config, array)
        np.testing.assert_array_equal(checked.values, mel.T)
        [warning] = checked.warnings
        assert f"{bands}x{bands} fits both layouts: {taken} was taken" in warning


def test_a_square_mel_without_a_likelier_layout_has_bands_first() -> None:
    mel = np.full((80, 80), -5.0, np.float32)
    mel[3] = -4.0
    checked = check_mel(PRESETS["hifigan-22k"].config, mel)
    np.testing.assert_array_equal(checked.values, mel.T)
    assert "bands_first was taken, which is the default" in checked.warnings[0]


def test_a_layout_that_is_given_is_taken_without_a_warning() -> None:
    mel = np.random.default_rng(0).uniform(-9, 1, (80, 80)).astype(np.float32)
    config = PRESETS["hifigan-22k"].config
    assert check_mel(config, mel, "frames_first").warnings == ()
    np.testing.assert_array_equal(check_mel(config, mel, "frames_first").values, mel)
    np.testing.assert_array_equal(check_mel(config, mel, "bands_first").values, mel.T)
