"""Presets: each row of the table against an independent implementation."""

from __future__ import annotations

import math
from collections.abc import Callable

import librosa
import numpy as np
import pytest
import torch
from nnAudio.features import MelSpectrogram
from transformers import (
    ASTFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    SpeechT5FeatureExtractor,
    WhisperFeatureExtractor,
)

from benchmarks.peers import extract
from tests import extractors
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS, preset
from unmel.models.signal.plan import build_plan

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


@pytest.mark.parametrize(
    ("name", "truncation"), [("clap-48k", "rand_trunc"), ("clap-fused-48k", "fusion")]
)
def test_clap_presets_equal_the_feature_extractor_of_transformers(
    name: str, truncation: str
) -> None:
    wave = voice(1.0, 48000)
    theirs = ClapFeatureExtractor(truncation=truncation, max_length_s=1)(
        wave, sampling_rate=48000, return_tensors="np"
    ).input_features[0, 0]
    np.testing.assert_allclose(mel_of(name, wave).T, theirs, atol=2e-3)  # dB


UNFILTERED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "kaldi-16k": lambda wave: extractors.kaldi_fbank(wave, 23, remove_dc=False),
    "kaldi-80-16k": lambda wave: extractors.kaldi_fbank(wave, 80, remove_dc=False),
    "torchaudio-kaldi-16k": lambda wave: extractors.kaldi_fbank(
        wave, 23, scale=1.0, remove_dc=False
    ),
    "seamless-16k": lambda wave: extractors.kaldi_fbank(wave, 80, remove_dc=False),
    "ast-16k": lambda wave: extractors.ast(wave, remove_dc=False),
    "speech-features-16k": extractors.speech_features,
    "tf-16k": extractors.tf_signal,
    "rtvc-16k": extractors.voice_cloning,
}


@pytest.mark.parametrize("name", UNFILTERED)
def test_extractors_of_numpy_equal_their_presets_but_for_a_frames_mean(name: str) -> None:
    """Also where the samples do not fill the last frame, of which one extractor makes another."""
    for samples in (16000, 16208):
        wave = voice(1.1, 16000)[:samples].astype(np.float64)
        ours = mel_of(name, wave.astype(np.float32))
        theirs = UNFILTERED[name](wave)
        assert ours.shape[1] == theirs.shape[1] - (name == "speech-features-16k")
        np.testing.assert_allclose(ours, theirs[:, : ours.shape[1]], atol=2e-4)


@pytest.mark.parametrize(
    ("name", "n_mels", "touched"), [("kaldi-16k", 23, 1), ("kaldi-80-16k", 80, 5)]
)
def test_the_mean_that_kaldi_takes_from_a_frame_is_in_the_lowest_bands_alone(
    name: str, n_mels: int, touched: int
) -> None:
    wave = voice(1.0, 16000).astype(np.float64)
    apart = np.abs(
        mel_of(name, wave.astype(np.float32)) - extractors.kaldi_fbank(wave, n_mels)
    ).mean(axis=1)
    assert (apart[touched:] < 0.02).all()
    assert apart.argmax() == 0


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_ast_preset_equals_the_feature_extractor_of_transformers() -> None:
    """Above the lowest bands, and without its filling, whose value the note tells."""
    wave = voice(1.0, 16000)
    [theirs] = ASTFeatureExtractor()(wave, sampling_rate=16000, return_tensors="np").input_values
    ours = mel_of("ast-16k", wave).T
    np.testing.assert_allclose(extractors.ast(wave).T, theirs[: len(ours)], atol=1e-4)
    np.testing.assert_allclose(ours[:, 12:], theirs[: len(ours), 12:], atol=0.02)
    assert np.abs(ours - theirs[: len(ours)])[:, 12:].mean() < 1e-4
    np.testing.assert_allclose(theirs[len(ours) :], 0.467, atol=1e-4)


def test_seamless_preset_equals_the_feature_extractor_of_transformers() -> None:
    """Above the lowest bands; also of normalised values, by the clip's own moments."""
    wave = voice(1.0, 16000)
    extractor = SeamlessM4TFeatureExtractor()
    [logs], [normalised] = (
        extractor(
            wave, sampling_rate=16000, return_tensors="np", do_normalize_per_mel_bins=normalise
        ).input_features
        for normalise in (False, True)
    )
    logs, normalised = logs.reshape(-1, 80), normalised.reshape(-1, 80)
    ours = mel_of("seamless-16k", wave).T
    assert len(ours) == len(logs)
    np.testing.assert_allclose(extractors.kaldi_fbank(wave, 80).T, logs, atol=1e-3)
    assert np.abs(ours - logs)[:, 6:].mean() < 1e-3
    moments = logs.mean(axis=0), logs.std(axis=0, ddof=1)
    told = preset("seamless-16k").config
    told = MelConfig.model_validate(
        told.model_dump() | {"mean": (told.mean + moments[0]).tolist(), "std": moments[1].tolist()}
    )
    own = analyze(build_plan(told, CPU, torch.float64), wave).T
    assert np.abs(own - normalised)[:, 6:].mean() < 1e-3


def test_the_librosa_preset_is_librosas_own_defaults() -> None:
    wave = voice(0.7)
    theirs = librosa.feature.melspectrogram(y=wave, sr=22050)
    np.testing.assert_allclose(mel_of("librosa", wave), theirs, rtol=1e-3, atol=1e-4)


def test_the_nnaudio_preset_is_nnaudios_own_mel() -> None:
    wave = voice(0.7)
    [theirs] = MelSpectrogram(verbose=False)(torch.from_numpy(wave)[None]).numpy()
    np.testing.assert_allclose(mel_of("nnaudio", wave), theirs, rtol=1e-3, atol=1e-4)


# What each project's own file says, written down a second time from PRESETS' sources: rate,
# n_fft / window / hop, bands, range, then family and what differs from it.
TRANSCRIBED = """
tacotron2-22k     22050 1024/1024/256  80 0-8000   T
fastspeech2-22k   22050 1024/1024/256  80 0-8000   T
glowtts-22k       22050 1024/1024/256  80 0-8000   T
hifigan-22k       22050 1024/1024/256  80 0-8000   H
gradtts-22k       22050 1024/1024/256  80 0-8000   H
matcha-22k        22050 1024/1024/256  80 0-8000   H mean=-5.536622 std=2.116101
matcha-vctk-22k   22050 1024/1024/256  80 0-8000   H mean=-6.630575 std=2.482914
vits-22k          22050 1024/1024/256  80 0-11025  H magnitude_eps=1e-6
bigvgan-22k       22050 1024/1024/256  80 0-8000   H
bigvgan-24k       24000 1024/1024/256 100 0-12000  H
bigvgan-44k       44100 2048/2048/512 128 0-22050  H
bigvgan-44k-256   44100 1024/1024/256 128 0-22050  H
vocos-24k         24000 1024/1024/256 100 0-12000  htk ln=1e-7
f5-24k            24000 1024/1024/256 100 0-12000  htk ln=1e-5
cosyvoice2-24k    24000 1920/1920/480  80 0-8000   H
cosyvoice3-24k    24000 1920/1920/480  80 0-12000  H
fish-44k          44100 2048/2048/512 128 0-22050  H magnitude_eps=1e-6
fish-firefly-44k  44100 2048/2048/512 160 0-22050  H magnitude_eps=1e-6
audioldm-16k      16000 1024/1024/160  64 0-8000   T
speecht5-16k      16000 1024/1024/256  80 80-7600  log10=1e-10
espnet-16k        16000 1024/1024/256  80 80-7600  log10=1e-10 magnitude_floor=1e-5
pwg-24k           24000 2048/1200/300  80 80-7600  log10=1e-10
pwg-22k           22050 1024/1024/256  80 80-7600  log10=1e-10
styletts2-24k     24000 2048/1200/300  80 0-8000   htk ln=0+1e-5 power=2 filterbank_rate=16000 mean=-4 std=4
coqui-22k         22050 1024/1024/256  80 0-11025  coqui
nemo-22k          22050 1024/1024/256  80 0-8000   nemo ln=0+1e-5
nemo-44k          44100 2048/2048/512  80 0-22050  nemo ln=0+1 peaks
whisper-80        16000 400/400/160    80 0-8000   whisper
whisper-128       16000 400/400/160   128 0-8000   whisper
torchaudio        16000 400/400/200   128 0-8000   htk linear power=2
librosa           22050 2048/2048/512 128 0-11025  linear power=2 constant
nnaudio           22050 2048/2048/512 128 0-11025  linear power=2
gptsovits3-24k    24000 1024/1024/256 100 0-12000  H magnitude_eps=1e-8 mean=-5 std=7
gptsovits4-32k    32000 1280/1280/320 100 0-16000  H magnitude_eps=1e-8 mean=-5 std=7
chatterbox-24k    24000 1920/1920/480  80 0-8000   H
vevo-24k          24000 1920/1920/480 128 0-12000  H mean=-4.92 var=8.14
mmaudio-16k       16000 1024/1024/256  80 0-8000   H log10=1e-5
mmaudio-44k       44100 2048/2048/512 128 0-22050  H
diffsinger-44k    44100 2048/2048/512 128 40-16000 H magnitude_eps=0
seedvc-44k        44100 2048/2048/512 128 0-22050  H
indextts2-22k     22050 1024/1024/256  80 0-11025  H
acestep-44k       44100 2048/2048/512 128 40-16000 H magnitude_eps=1e-6
clap-48k          48000 1024/1024/480  64 0-14000  db power=2
clap-fused-48k    48000 1024/1024/480  64 0-14000  htk db power=2
zipvoice-24k      24000 1024/1024/256 100 0-12000  htk ln=1e-7 std=10
rvc-40k           40000 2048/2048/400 125 0-20000  H ln=2e-6 magnitude_eps=2e-7
rvc-48k           48000 2048/2048/480 128 0-24000  H ln=2e-6 magnitude_eps=2e-7
kaldi-16k         16000 512/400/160    23 20-8000  kaldi int16
kaldi-80-16k      16000 512/400/160    80 20-8000  kaldi int16
torchaudio-kaldi-16k 16000 512/400/160 23 20-8000  kaldi ln=1.1920928955078125e-7
seamless-16k      16000 512/400/160    80 20-8000  kaldi int16
ast-16k           16000 512/400/160   128 20-8000  kaldi symmetric ln=1.1920928955078125e-7 mean=-4.2677393 std=9.1379948
tf-16k            16000 1024/1024/256  80 80-7600  htk unpadded mels ln=0+1e-6
speech-features-16k 16000 512/400/160  26 0-8000   kaldi boxcar bins ln=1.0587911840678754e-22 mean=-14.556090791758852
rtvc-16k          16000 800/800/200    80 55-7600  coqui constant preemphasis=0.97
"""  # noqa: E501 - one row a line

WORDS: dict[str, dict[str, object]] = {
    "T": {"scale": {"kind": "ln", "clip": 1e-5}},
    "H": {"scale": {"kind": "ln", "clip": 1e-5}, "padding": "hifigan", "magnitude_eps": 1e-9},
    "htk": {"mel_scale": "htk", "norm": None},
    "peaks": {"norm": None},
    "nemo": {"window": "hann_symmetric", "padding": "center_constant"},
    "constant": {"padding": "center_constant"},
    "whisper": {"scale": "whisper", "power": 2, "drop_last": True},
    "coqui": {"scale": {"kind": "coqui", "ref_db": 20, "min_db": -100, "max_norm": 4}},
    "linear": {"scale": "linear"},
    "unpadded": {"padding": "none"},
    "mels": {"triangles": "mel"},
    "bins": {"triangles": "bins"},
    "symmetric": {"window": "hann_symmetric"},
    "boxcar": {"window": "rectangular"},
    "kaldi": {
        "window_place": "start",
        "window": "povey",
        "padding": "none",
        "preemphasis": 0.97,
        "mel_scale": "htk",
        "norm": None,
        "triangles": "mel",
        "power": 2,
    },
    "int16": {"scale": {"kind": "ln", "clip": 2.0**-53}, "mean": -30 * math.log(2)},
    "db": {"scale": {"kind": "db", "reference": 1, "floor": 1e-10, "top_db": None}},
}


def transcribed(line: str) -> tuple[str, MelConfig]:
    name, rate, sizes, bands, span, *words = line.split()
    n_fft, win, hop = map(int, sizes.split("/"))
    fmin, fmax = map(float, span.split("-"))
    fields: dict[str, object] = {
        "sample_rate": int(rate), "n_fft": n_fft, "win_length": win, "hop_length": hop,
        "n_mels": int(bands), "fmin": fmin, "fmax": fmax,
    }  # fmt: skip # as the line has them
    for word in words:
        key, _, value = word.partition("=")
        if not value:
            fields |= WORDS[key]
        elif key in ("ln", "log10"):
            clip, _, offset = value.partition("+")
            fields["scale"] = {"kind": key, "clip": float(clip), "offset": float(offset or 0)}
        elif key == "var":
            fields["std"] = math.sqrt(float(value))
        else:
            fields[key] = float(value)
    return name, MelConfig.model_validate(fields)


def test_every_row_equals_its_projects_source() -> None:
    rows = dict(map(transcribed, TRANSCRIBED.strip().splitlines()))
    assert {name: row.config for name, row in PRESETS.items()} == rows


def test_every_preset_names_its_project_and_source() -> None:
    for name, row in PRESETS.items():
        assert row.name == name
        assert row.project
        assert row.source


def test_an_unknown_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(Invalid, match="hifigan-22k") as caught:
        preset("hifigan")
    assert caught.value.field == "config"
