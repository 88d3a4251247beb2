"""Audio to mel as librosa, torch and transformers frame it: windows, places, edges, emphasis."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers.audio_utils import spectrogram

from benchmarks.peers import extract
from tests.signals import voice
from unmel.models.engine.analysis import analyze, linear_mel
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.window import Window
from unmel.models.signal.plan import build_plan

CPU = torch.device("cpu")
WAVE = voice(0.3, 16000)
GEOMETRIES: list[dict[str, Any]] = [
    {"padding": padding, "win_length": win, "window_place": place}
    for padding, win, place in itertools.product(
        ("none", "center_reflect", "center_constant", "hifigan"),
        (399, 400, 512),
        ("center", "start"),
    )
]


def config(**fields: Any) -> MelConfig:
    given = {"sample_rate": 16000, "n_fft": 512, "hop_length": 160, "n_mels": 40, **fields}
    return MelConfig(scale="linear", **given)


def mel(made: MelConfig, wave: np.ndarray = WAVE) -> np.ndarray:
    return analyze(build_plan(made, CPU, torch.float64), wave)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: "-".join(map(str, g.values())))
@pytest.mark.parametrize("preemphasis", [0.0, 0.97])
def test_every_geometry_is_librosas(geometry: dict[str, Any], preemphasis: float) -> None:
    made = config(**geometry, preemphasis=preemphasis, window="hamming")
    theirs = extract(made, WAVE).values
    np.testing.assert_allclose(mel(made), theirs, atol=1e-5 * theirs.max())


@pytest.mark.parametrize("window", get_args(Window))
def test_every_window_is_librosas(window: Window) -> None:
    made = config(window=window, win_length=400, padding="none", window_place="start", power=2)
    theirs = extract(made, WAVE).values
    np.testing.assert_allclose(mel(made), theirs, atol=1e-5 * theirs.max())


@pytest.mark.parametrize("win", [399, 512])
def test_no_padding_is_torchs_without_centring(win: int) -> None:
    made = config(win_length=win, padding="none")
    plan = build_plan(made, CPU, torch.float64)
    wave = torch.from_numpy(WAVE).double()
    window = torch.hann_window(win, dtype=torch.float64)
    theirs = torch.stft(wave, 512, 160, win, window, center=False, return_complex=True).abs().T
    found = linear_mel(plan, wave)
    torch.testing.assert_close(found, (theirs @ plan.bank)[:, :40], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("window", "wrong"), [("povey", 1e-12), ("hann_symmetric", 1e-12), ("hamming_symmetric", 0.02)]
)
def test_emphasis_of_the_signal_is_kaldis_of_each_frame_but_for_the_frames_first_sample(
    window: Window, wrong: float
) -> None:
    """Which Povey's and Hann's windows do not let through, and Hamming's by 0.08."""
    made = config(
        window=window, win_length=400, padding="none", window_place="start", preemphasis=0.97
    )
    plan = build_plan(made, CPU, torch.float64)
    theirs = spectrogram(
        WAVE.astype(np.float64),
        plan.config.window_values(),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=1.0,
        center=False,
        preemphasis=0.97,
        mel_filters=plan.bank.numpy()[:, :40],
        mel_floor=0.0,
        dtype=np.dtype(np.float64),
    )
    found = mel(made)
    assert found.shape == theirs.shape
    # Both round their samples or mels to single precision.
    assert np.abs(found - theirs).max() < (wrong + 1e-6) * theirs.max()


@pytest.mark.parametrize("place", ["center", "start"])
def test_one_sample_less_than_a_frame_is_refused(place: str) -> None:
    made = config(padding="none", win_length=400, window_place=place)
    least = made.samples(1)
    assert mel(made, WAVE[:least]).shape == (40, 1)
    with pytest.raises(Invalid, match="enough samples"):
        mel(made, WAVE[: least - 1])
