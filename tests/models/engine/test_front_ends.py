"""Front-ends without padding, with a pre-emphasis and windows of all kinds: every way there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from tests.models.engine.test_engine import RECIPES, item, mel_error
from tests.models.engine.test_stream import mel_of, streamed
from tests.signals import voice
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.memory import row_bytes
from unmel.models.mel.config import MelConfig
from unmel.models.methods.recipe import resolve

pytestmark = pytest.mark.loops

ENGINE, PLAIN = Engine(), Engine(backend="torch")
RATE = 16000
_SPEECH: dict[str, Any] = {"n_fft": 512, "win_length": 400, "hop_length": 160, "padding": "none"}


def config(**fields: Any) -> MelConfig:
    given = {"sample_rate": RATE, "n_mels": 40, "scale": "ln", **_SPEECH, **fields}
    return MelConfig(**given)


CONFIGS = {
    "librosa's center=False": config(win_length=512, hop_length=128),
    "torch's window in the middle": config(),
    "a window from an odd sample on": config(win_length=398, window="blackman"),
    "Kaldi": config(window="povey", window_place="start", power=2, preemphasis=0.97),
    "python_speech_features": config(window="rectangular", window_place="start", preemphasis=0.97),
    "tf.signal": config(window="hamming", window_place="start", n_fft=1024),
    "transformers, centred": config(
        window="hamming_symmetric", window_place="start", padding="center_reflect", preemphasis=0.5
    ),
    "HiFi-GAN's padding": config(padding="hifigan", window_place="start", preemphasis=0.9),
    "an odd hop": config(hop_length=133, window="blackman_symmetric", preemphasis=0.97),
}
each_config = pytest.mark.parametrize("name", CONFIGS)
UNPADDED = [name for name, made in CONFIGS.items() if made.padding == "none"]


def without_emphasis(made: MelConfig) -> MelConfig:
    return made.model_copy(update={"preemphasis": 0.0})


@each_config
@pytest.mark.parametrize("kind", RECIPES)
def test_every_method_comes_near_the_mel(name: str, kind: str) -> None:
    made, wave = CONFIGS[name], voice(0.5, RATE)
    recipe = resolve(made.power, n_iter=32, **RECIPES[kind])  # type: ignore[arg-type] # names of options
    [result] = ENGINE.run([item(wave, made, recipe)])
    assert len(result.values) == made.samples(made.frames(len(wave)))
    assert mel_error(made, wave, result.values) < (0.03 if kind == "consistent" else 0.2)


@each_config
@pytest.mark.parametrize("kind", ["consistent", "lbfgs", "rtisi_la"])
def test_bits_are_the_same_alone_and_in_a_pack(name: str, kind: str) -> None:
    made = CONFIGS[name]
    recipe = resolve(made.power, n_iter=6, **RECIPES[kind])  # type: ignore[arg-type] # as above
    items = [item(voice(0.2 + 0.1 * k, RATE, k), made, recipe, seed=k) for k in range(3)]
    for one, result in zip(items, ENGINE.run(items), strict=True):
        assert np.array_equal(ENGINE.run([one])[0].values, result.values)


@each_config
def test_silence_is_exact_silence_in_every_way(name: str) -> None:
    made = CONFIGS[name]
    silent = item(np.zeros(RATE // 2, np.float32), made, resolve(made.power, n_iter=2))
    assert not ENGINE.run([silent])[0].values.any()
    assert not streamed(silent.mel, config=made, quality="draft").any()


@each_config
@pytest.mark.parametrize("frames", [1, 2, 3, 9, 12])
def test_short_mels_and_streams_have_their_length_and_are_finite(name: str, frames: int) -> None:
    made = CONFIGS[name]
    mel = mel_of(voice(0.5, RATE), made)[4 : 4 + frames]
    wave = streamed(mel, config=made, quality="draft", lookahead=4)
    longest = made.sample_range(frames)[1]
    [whole] = ENGINE.run([Item(mel, made, resolve(made.power, n_iter=4), longest)])
    for made_of_it, samples in ((wave, made.samples(frames)), (whole.values, longest)):
        assert made_of_it.shape == (samples,)
        assert np.isfinite(made_of_it).all()
        assert made_of_it.any()


@pytest.mark.parametrize("name", UNPADDED)
def test_samples_that_no_window_reaches_are_zero_and_the_others_are_not_noise(name: str) -> None:
    made = without_emphasis(CONFIGS[name])
    recipe = resolve(made.power, n_iter=24)
    whole = item(voice(0.5, RATE), made, recipe)
    one = dataclasses.replace(whole, samples=made.sample_range(whole.frames)[1])
    before = made.window_offset
    behind = before + (whole.frames - 1) * made.hop_length + made.win_length
    for wave in (ENGINE.run([one])[0].values, streamed(one.mel, config=made)):
        assert not wave[:before].any()
        assert not wave[behind:].any()
        reached = np.abs(wave[before:behind])
        edges = max(reached[: made.hop_length].max(), reached[-made.hop_length :].max())
        assert edges < 1.5 * reached.max()


@each_config
def test_a_stream_does_not_depend_on_its_messages(name: str) -> None:
    made = CONFIGS[name]
    mel = mel_of(voice(0.4, RATE), made)
    for engine in (ENGINE, PLAIN):
        whole = streamed(mel, config=made, engine=engine, quality="draft")
        for cuts in (range(1, len(mel)), (3, 11, 12)):
            cut = streamed(mel, cuts, config=made, engine=engine, quality="draft")
            assert cut.tobytes() == whole.tobytes()


@each_config
def test_a_streams_audio_has_the_mel_that_was_sent(name: str) -> None:
    made, wave = CONFIGS[name], voice(0.6, RATE)
    out = streamed(mel_of(wave, made), config=made)
    assert mel_error(made, wave, out) < (0.35 if made.window == "rectangular" else 0.2)


EMPHASISED = [name for name, made in CONFIGS.items() if made.preemphasis]


@pytest.mark.parametrize("name", EMPHASISED)
def test_emphasis_is_undone_by_its_inverse_filter_in_every_way(name: str) -> None:
    """The same mel without it gives the emphasised signal, which scipy filters."""
    made = CONFIGS[name]
    plain, recipe = without_emphasis(made), resolve(made.power, n_iter=6)
    short = item(voice(0.4, RATE), made, recipe)
    long = item(voice(3.0, RATE), made, recipe)
    small = Engine(pack_bytes=150 * row_bytes(made, recipe))
    assert long.rows > 150
    pairs = [
        [engine.run([dataclasses.replace(one, config=c)])[0].values for c in (made, plain)]
        for engine, one in ((ENGINE, short), (small, long))
    ]
    pairs.append([streamed(short.mel, config=c, quality="draft") for c in (made, plain)])
    for undone, emphasised in pairs:
        theirs = lfilter([1.0], [1.0, -made.preemphasis], emphasised.astype(np.float64))
        np.testing.assert_allclose(undone, theirs, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("name", EMPHASISED)
def test_magnitude_and_stft_stay_those_of_the_emphasised_signal(name: str) -> None:
    made = CONFIGS[name]
    whole = item(voice(0.3, RATE), made, resolve(made.power, n_iter=4))
    for output in ("magnitude", "stft"):
        one = dataclasses.replace(whole, output=output)
        plain = dataclasses.replace(one, config=without_emphasis(made))
        assert np.array_equal(ENGINE.run([one])[0].values, ENGINE.run([plain])[0].values)


@pytest.mark.parametrize("win", [400, 398, 512])
def test_the_stft_is_torchs_of_the_audio_without_centring(win: int) -> None:
    made = config(win_length=win, window="hamming")
    whole = item(voice(0.4, RATE), made, resolve(1, n_iter=6))
    audio, stft = (
        ENGINE.run([dataclasses.replace(whole, output=o)])[0].values for o in ("audio", "stft")
    )
    theirs = torch.stft(
        torch.from_numpy(audio),
        512,
        160,
        win,
        torch.hamming_window(win),
        center=False,
        return_complex=True,
    )
    np.testing.assert_allclose(stft, theirs.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", UNPADDED)
def test_a_clip_in_blocks_comes_as_near_as_a_whole_one(name: str) -> None:
    made, wave = CONFIGS[name], voice(4.0, RATE, seed=3)
    recipe = resolve(made.power, n_iter=24)
    one = item(wave, made, recipe)
    cut = Engine(pack_bytes=150 * row_bytes(made, recipe)).run([one])[0].values
    whole = ENGINE.run([one])[0].values
    assert cut.shape == whole.shape
    assert mel_error(made, wave, cut) < 1.5 * mel_error(made, wave, whole) + 0.01


def test_given_phases_of_the_signal_itself_give_it_back_between_its_edges() -> None:
    """They count from the first sample of the n_fft frame, as torch.stft counts them."""
    made = config(n_mels=80, scale="linear", win_length=398)
    wave = torch.from_numpy(voice(0.4, RATE))
    spectrum = torch.stft(
        wave, 512, 160, 398, torch.hann_window(398), center=False, return_complex=True
    )
    recipe = resolve(1, n_iter=0, start="given", inversion="smooth", phase="griffin_lim")
    one = item(wave.numpy(), made, recipe)
    guided = dataclasses.replace(one, phases=spectrum.angle().T.numpy().copy())
    result = ENGINE.run([guided])[0].values
    inside = slice(800, len(result) - 800)
    apart = np.linalg.norm((result - wave.numpy()[: len(result)])[inside])
    assert apart < 0.15 * np.linalg.norm(wave.numpy()[inside])
