"""Whole chains, mel to waveform, against librosa's one call and torchaudio's two."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from benchmarks.peers import librosa_magnitude, load_torchaudio, torchaudio_magnitude
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item, Output
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import GIVEN, resolve

pytestmark = pytest.mark.loops

ENGINE = Engine()
# librosa's own pads with zeros, and its mel peaks at 1 here: its NNLS stops at its start.
LIBROSA = PRESETS["librosa"].config


def mel_of(config: MelConfig) -> np.ndarray:
    """A linear mel `[T, K]` with a peak of 1."""
    mel = np.ascontiguousarray(analyze(ENGINE.plans.get(config), voice(0.6, config.sample_rate)).T)
    return mel / mel.max()


def run(
    mel: np.ndarray,
    phases: np.ndarray | None,
    output: Output = "audio",
    *,
    config: MelConfig = LIBROSA,
    **options: str,
) -> np.ndarray:
    """What the engine makes of a linear mel `[T, K]`, from phases `[N, T]` if there are any."""
    start = {} if phases is None else {"start": GIVEN}
    recipe = resolve(config.power, n_iter=8, **start, **options)  # type: ignore[arg-type] # names of options
    first = None if phases is None else phases.T.astype(np.float32)
    item = Item(mel, config, recipe, config.samples(len(mel)), 0, output, first)
    return ENGINE.run([item])[0].values


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    """The phases that librosa draws first of a generator with seed 7."""
    return 2 * np.pi * np.random.default_rng(7).random(size=shape)


def close(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Distance as a share, away from the edges, which librosa divides by next to nothing."""
    inside = slice(1024, min(len(ours), len(theirs)) - 1024)
    return float(np.linalg.norm((ours - theirs)[inside]) / np.linalg.norm(theirs[inside]))


def test_mel_to_audio_in_one_call_is_pinv_and_griffin_lim_from_the_same_phases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At this level librosa's NNLS ends where it starts, at the clipped pseudo-inverse."""
    mel = mel_of(LIBROSA) * 1e-3
    made = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda *_, **__: made(7))
    theirs = librosa.feature.inverse.mel_to_audio(mel.T, n_iter=8)
    monkeypatch.undo()
    ours = run(mel, drawn((1025, len(mel))), inversion="pinv", phase="griffin_lim")
    assert len(ours) == len(theirs)
    assert close(ours, theirs) < 1e-3


@pytest.mark.parametrize("inversion", ["nnls", "lstsq", "smooth"])
def test_our_magnitude_through_librosas_griffin_lim_is_our_audio(inversion: str) -> None:
    mel = mel_of(LIBROSA)
    magnitude = run(mel, None, "magnitude", inversion=inversion)
    theirs = librosa.griffinlim(magnitude, n_iter=8, pad_mode="constant", random_state=_fixed())
    phases = drawn(magnitude.shape)
    ours = run(mel, phases, inversion=inversion, phase="griffin_lim")
    assert close(ours, theirs) < 1e-3


def _fixed() -> np.random.Generator:
    return np.random.default_rng(7)


def test_librosas_magnitude_is_further_from_the_mel_than_ours() -> None:
    mel = mel_of(LIBROSA)
    bank = librosa.filters.mel(sr=22050, n_fft=2048)
    ours = run(mel, None, "magnitude", inversion="nnls")
    theirs = librosa_magnitude(LIBROSA, mel.T)
    error = [np.linalg.norm(bank @ magnitude**2 - mel.T) for magnitude in (ours, theirs)]
    assert error[0] < 0.1 * error[1]


@pytest.mark.skipif(load_torchaudio() is None, reason="torchaudio's wheel does not load here")
def test_torchaudios_inverse_mel_scale_and_griffin_lim_are_lstsq_and_griffin_lim() -> None:
    config = PRESETS["nnaudio"].config  # librosa's with reflected edges, as torchaudio has them
    mel = mel_of(config)
    magnitude = torchaudio_magnitude(config, mel.T)
    griffin_lim = load_torchaudio().transforms.GriffinLim(
        n_fft=2048, n_iter=8, hop_length=512, power=1.0, rand_init=False
    )
    theirs = griffin_lim(torch.from_numpy(magnitude)).numpy()
    zeros = np.zeros(magnitude.shape)
    ours = run(mel, zeros, inversion="lstsq", phase="griffin_lim", config=config)
    assert len(ours) == len(theirs)
    assert close(ours, theirs) < 1e-2
