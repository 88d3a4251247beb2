"""Checks of mels and phases: accepted shapes, refused values and warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.validate import check_mel, check_phases
from unmel.models.signal.plan import build_plan

HIFIGAN = PRESETS["hifigan-22k"].config
SQUARE = MelConfig(sample_rate=16000, n_fft=512, hop_length=128, n_mels=20, scale="ln")


def ramp(*shape: int) -> np.ndarray:
    return np.linspace(-10, 0, int(np.prod(shape)), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("mel", "layout", "first_frame"),
    [
        (ramp(80, 5), "auto", ramp(80, 5)[:, 0]),
        (ramp(1, 80, 5), "auto", ramp(80, 5)[:, 0]),
        (ramp(5, 80), "auto", ramp(5, 80)[0]),
        (ramp(1, 5, 80), "auto", ramp(5, 80)[0]),
        (ramp(1, 1, 5, 80), "auto", ramp(5, 80)[0]),
        (ramp(1, 1, 1, 80, 5), "auto", ramp(80, 5)[:, 0]),
        (ramp(80, 5, 1), "auto", ramp(80, 5)[:, 0]),
        (ramp(5, 1, 80), "auto", ramp(5, 80)[0]),
        (ramp(1, 80, 5, 1), "auto", ramp(80, 5)[:, 0]),
        (ramp(1, 1, 80, 80), "frames_first", ramp(80, 80)[0]),
        (ramp(1, 1, 80), "auto", ramp(80)),
        (ramp(1, 80, 1), "bands_first", ramp(80)),
        (ramp(1, 80, 1), "frames_first", ramp(80)),
        (ramp(80, 1, 1), "auto", ramp(80)),
        (ramp(1, 80), "auto", ramp(80)),
        (ramp(80, 80), "auto", ramp(80, 80)[:, 0]),
        (ramp(80, 80), "bands_first", ramp(80, 80)[:, 0]),
        (ramp(80, 80), "frames_first", ramp(80, 80)[0]),
        (ramp(80, 1), "auto", ramp(80, 1)[:, 0]),
        (ramp(80, 5).astype(np.float64), "auto", ramp(80, 5)[:, 0]),
        (np.asfortranarray(ramp(80, 5)), "auto", ramp(80, 5)[:, 0]),
        (ramp(80, 5).astype(">f4"), "auto", ramp(80, 5)[:, 0]),
    ],
)
def test_accepted_shapes(mel: np.ndarray, layout: Any, first_frame: np.ndarray) -> None:
    values = check_mel(HIFIGAN, mel, layout).values
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values[0], first_frame)


@pytest.mark.parametrize(
    ("mel", "layout", "got"),
    [
        (ramp(81, 5), "auto", "shape 81x5"),
        (ramp(5, 80), "bands_first", "shape 5x80"),
        (ramp(80, 5), "frames_first", "shape 80x5"),
        (ramp(80), "auto", "shape 80"),
        (ramp(2, 80, 5), "auto", "shape 2x80x5"),
        (ramp(2, 1, 80, 5), "auto", "shape 2x1x80x5"),
        (ramp(1, 1, 79), "auto", "shape 1x1x79"),
        (ramp(1, 1, 1), "auto", "shape 1x1x1"),
        (np.zeros((1, 80, 0), np.float32), "auto", "no frames"),
        (np.float32(3.0).reshape(()), "auto", "a single number"),
        (np.zeros((80, 0), np.float32), "auto", "no frames"),
        (np.zeros((0, 80), np.float32), "auto", "no frames"),
        (np.zeros((80, 5), complex), "auto", "complex128"),
        (np.zeros((80, 5), bool), "auto", "bool"),
    ],
)
def test_a_refused_shape_is_answered_with_the_expected_one(
    mel: np.ndarray, layout: Any, got: str
) -> None:
    with pytest.raises(Invalid, match=got) as caught:
        check_mel(HIFIGAN, mel, layout)
    assert caught.value.field == "mel"
    assert caught.value.expected


ONE_BAND = HIFIGAN.model_copy(update={"n_mels": 1})


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1, 7), (7, 1, 1), (1, 7, 1), (1, 1, 1, 7)])
def test_an_axis_of_one_band_is_kept(shape: tuple[int, ...]) -> None:
    for layout in ("auto", "bands_first", "frames_first"):
        if len(shape) > 2 or layout == "auto":
            values = check_mel(ONE_BAND, ramp(*shape), layout).values  # type: ignore[arg-type]
            np.testing.assert_array_equal(values, ramp(7, 1))
    assert check_mel(ONE_BAND, ramp(1, 1, 1)).values.shape == (1, 1)


def test_phases_may_have_further_axes_of_size_one() -> None:
    phases = ramp(HIFIGAN.n_bins, 5) + 11
    want = check_phases(HIFIGAN, phases, 5)
    np.testing.assert_array_equal(check_phases(HIFIGAN, phases[None, ..., None], 5), want)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39, -1e39])
def test_a_value_that_is_not_finite_is_refused_with_its_position(bad: float) -> None:
    mel = ramp(80, 5).astype(np.float64)
    mel[3, 2] = bad
    with pytest.raises(Invalid, match="band 3, frame 2"):
        check_mel(HIFIGAN, mel)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_accepts_its_own_mel_of_speech_noise_and_silence(name: str) -> None:
    config = PRESETS[name].config
    plan = build_plan(config, torch.device("cpu"))
    noise = np.random.default_rng(0).uniform(-1, 1, config.sample_rate).astype(np.float32)
    for wave in (voice(0.5, config.sample_rate), 3e-3 * noise, 1e-3 * noise, 0 * noise):
        assert check_mel(config, analyze(plan, wave)).warnings == ()


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("hifigan-22k", 40.0, "full scale"),
        ("hifigan-22k", -80.0, "silence"),
        ("speecht5-16k", 30.0, "full scale"),
        ("whisper-80", 9.0, "full scale"),
        ("whisper-80", -11.5, "silence"),
        ("coqui-22k", 60.0, "full scale"),
        ("librosa", -8.0, "linear"),
        ("torchaudio", -1.0, "linear"),
    ],
)
def test_values_that_cannot_be_of_the_scale_are_refused(name: str, value: float, want: str) -> None:
    config = PRESETS[name].config
    with pytest.raises(Invalid, match=want):
        check_mel(config, np.full((config.n_mels, 6), value, np.float32))


@pytest.mark.parametrize("name", ["hifigan-22k", "speecht5-16k", "whisper-80", "coqui-22k"])
def test_an_all_positive_array_sent_as_logs_is_accepted_with_a_warning(name: str) -> None:
    config = PRESETS[name].config
    mel = np.random.default_rng(0).uniform(0, 1, (config.n_mels, 50)).astype(np.float32)
    [warning] = check_mel(config, mel).warnings
    assert "none is negative" in warning


def test_levels_above_full_scale_are_accepted_with_a_warning() -> None:
    """Some front-ends take 16-bit integers without dividing by 32768."""
    plan = build_plan(HIFIGAN, torch.device("cpu"))
    mel = analyze(plan, voice(0.5) * 32768)
    assert any("full-scale" in warning for warning in check_mel(HIFIGAN, mel).warnings)


def test_a_linear_mel_too_large_for_float32_is_refused() -> None:
    with pytest.raises(Invalid, match="at most"):
        check_mel(PRESETS["librosa"].config, np.full((128, 3), 3e38, np.float32))


def test_bands_narrower_than_a_bin_are_accepted() -> None:
    config = MelConfig(
        sample_rate=22050, n_fft=256, hop_length=64, n_mels=200, fmin=9000, scale="db"
    )
    mel = analyze(build_plan(config, torch.device("cpu")), voice(0.3))
    assert check_mel(config, mel).warnings == ()


def test_a_networks_slightly_negative_linear_values_are_taken_as_zero() -> None:
    config = PRESETS["librosa"].config
    mel = np.abs(ramp(128, 5))
    mel[0, 0] = -0.01
    assert "small negative" in check_mel(config, mel).warnings[0]


def test_phases_keep_their_fraction_of_a_turn_however_far_they_are_unwrapped() -> None:
    config = MelConfig(sample_rate=16000, n_fft=64, hop_length=16, n_mels=8, scale="ln")
    phases = np.linspace(0.1, 6.1, config.n_bins * 3).reshape(config.n_bins, 3)
    far = check_phases(config, phases + 2.0 * np.pi * 1e6, 3)
    np.testing.assert_allclose(far, phases.T, atol=1e-6)


# --- the logarithm of zero ----------------------------------------------------------------------

LOGARITHMIC = [name for name in PRESETS if PRESETS[name].config.scale.kind != "linear"]


@pytest.mark.parametrize("name", LOGARITHMIC)
def test_minus_infinity_is_the_silence_of_every_logarithmic_scale(name: str) -> None:
    config = PRESETS[name].config
    plan = build_plan(config, torch.device("cpu"))
    silence = analyze(plan, np.zeros(config.sample_rate // 2, np.float32))
    checked = check_mel(config, np.full(silence.shape, -np.inf, np.float16))
    assert (checked.values <= silence.T + 1e-5).all()
    if not (config.magnitude_eps or config.magnitude_floor):  # which keep an extractor from it
        np.testing.assert_allclose(checked.values, silence.T, rtol=1e-5, atol=1e-5)
    assert checked.warnings == ()
    mel = analyze(plan, voice(0.5, config.sample_rate))
    holes = mel.copy()
    holes[3:5, 2] = -np.inf
    values = check_mel(config, holes).values
    np.testing.assert_array_equal(values[:2], mel.T[:2])
    np.testing.assert_array_equal(values[2, 3:5], checked.values[0, 3:5])


def test_minus_infinity_is_no_number_of_a_linear_scale() -> None:
    config = PRESETS["librosa"].config
    for one in (config, config.model_copy(update={"mean": 1.0})):
        with pytest.raises(Invalid, match="-inf in band 0, frame 0"):
            check_mel(one, np.full((config.n_mels, 3), -np.inf, np.float32))


def test_half_precision_that_overflowed_downwards_is_silence() -> None:
    with np.errstate(over="ignore"):
        mel = np.full((80, 3), -70_000.0).astype(np.float16)
    assert (check_mel(HIFIGAN, mel).values == np.float32(np.log(1e-5))).all()
