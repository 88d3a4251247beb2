"""`mel_to_audio` beside librosa's function: arguments, lengths, and what is heard."""

from __future__ import annotations

import inspect
from typing import Any

import librosa
import numpy as np
import pytest

import unmel
from tests.signals import speech
from unmel.models.errors import Invalid

WAVE = speech(0.8)


def test_its_arguments_are_librosas_and_one_default_differs() -> None:
    def arguments(function: Any) -> dict[str, Any]:
        return {
            name: one.default
            for name, one in inspect.signature(function).parameters.items()
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        }

    ours, theirs = arguments(unmel.mel_to_audio), arguments(librosa.feature.inverse.mel_to_audio)
    assert list(ours) == list(theirs)
    assert {name for name in ours if ours[name] != theirs[name]} == {"n_iter"}


@pytest.mark.loops
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hop_length": 256, "win_length": 1024, "n_fft": 1024, "fmax": 8000, "htk": True},
        {"power": 1.0, "window": "hamming", "pad_mode": "reflect", "norm": None},
        {"center": False, "fmin": 50.0},
        {"win_length": 1200, "hop_length": 300},
    ],
)
def test_its_audio_has_librosas_length_and_fits_the_mel_better(options: dict[str, Any]) -> None:
    mel = librosa.feature.melspectrogram(y=WAVE, **options)
    bands = {"fmin", "fmax", "htk", "norm"}
    frames = {name: value for name, value in options.items() if name not in bands}
    theirs = librosa.feature.inverse.mel_to_audio(mel, n_iter=32, **options)
    ours = unmel.mel_to_audio(mel, **options)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype

    def far(wave: Any) -> float:
        made = librosa.feature.melspectrogram(
            y=wave, **frames, **{k: options[k] for k in bands & set(options)}
        )
        return float(np.linalg.norm(made - mel) / np.linalg.norm(mel))

    assert far(ours) < far(theirs)


@pytest.mark.loops
@pytest.mark.parametrize("length", [1, 17000, 17640, 18000])
def test_any_length_is_cut_or_continued_by_zeros(length: int) -> None:
    mel = librosa.feature.melspectrogram(y=np.stack([WAVE, WAVE[::-1]]))
    audio = unmel.mel_to_audio(mel, n_iter=1, length=length, dtype=np.float64)
    assert audio.shape == (2, length)
    assert audio.dtype == np.float64
    assert not audio[:, 34 * 512 + 512 :].any()


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("window", {"window": "kaiser"}),
        ("window", {"window": np.ones(2048)}),
        ("pad_mode", {"pad_mode": "edge"}),
        ("norm", {"norm": 1}),
        ("mel", {"M": -np.ones((128, 9))}),
        ("M", {"M": np.ones(128)}),
    ],
)
def test_what_librosa_takes_and_unmel_does_not_is_named(field: str, options: Any) -> None:
    with pytest.raises(Invalid) as caught:
        unmel.mel_to_audio(**{"M": np.ones((128, 9)), **options})
    assert caught.value.field == field
