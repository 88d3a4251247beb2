"""Filterbanks: librosa's to 1e-6, torchaudio's to 2e-5, and sensible on empty bands."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank

from benchmarks.peers import bank
from tests.extractors import bin_triangles
from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import empty_bands, filterbank, hz_to_mel, mel_to_hz
from unmel.models.mel.presets import PRESETS
from unmel.models.signal.plan import build_plan

# What torchaudio 2.11.0's melscale_fbanks gave: every n-th non-zero cell, and the sum of all.
TORCHAUDIO: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "torchaudio_filterbank.json").read_text()
)


def make(
    rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, scale: str, norm: str | None
) -> MelConfig:
    return MelConfig(
        sample_rate=rate,
        n_fft=n_fft,
        hop_length=n_fft // 4,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        mel_scale=scale,
        norm=norm,
        scale="linear",
    )


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize(
    "shape",
    [
        (22050, 1024, 80, 0.0, 8000.0),
        (16000, 400, 128, 0.0, 8000.0),
        (44100, 2048, 160, 0.0, 22050.0),
        (24000, 1920, 80, 80.0, 7600.0),
        (8000, 255, 20, 30.5, 3900.25),
    ],
)
def test_equal_to_librosa(
    scale: str, norm: str | None, shape: tuple[int, int, int, float, float]
) -> None:
    made = make(*shape, scale, norm)
    np.testing.assert_allclose(filterbank(made), bank(made), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "case", TORCHAUDIO, ids=lambda c: f"{c['mel_scale']}-{c['norm']}-{c['n_fft']}"
)
def test_equal_to_torchaudio(case: dict[str, Any]) -> None:
    names = ("sample_rate", "n_fft", "n_mels", "fmin", "fmax", "mel_scale", "norm")
    values = filterbank(make(*(case[name] for name in names)))
    for band, bin_, value in case["cells"]:
        assert values[band, bin_] == pytest.approx(value, abs=2e-5)
    assert values.sum() == pytest.approx(case["total"], rel=1e-4)


@pytest.mark.parametrize(
    "shape",
    [
        (16000, 512, 80, 20.0, 8000.0),  # Kaldi's own
        (16000, 512, 128, 20.0, 8000.0),  # the Audio Spectrogram Transformer's: some are empty
        (8000, 256, 23, 64.0, 3800.0),
        (22050, 1024, 100, 0.0, 11025.0),
    ],
)
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_triangles_over_mels_are_those_of_transformers(
    shape: tuple[int, int, int, float, float], norm: str | None, scale: str
) -> None:
    """Its "kaldi" is HTK's scale by natural logarithms, in which only the norm's unit differs."""
    rate, n_fft, bands, fmin, fmax = shape
    made = make(*shape, scale, norm).model_copy(update={"triangles": "mel"})
    ours = filterbank(made)
    theirs = mel_filter_bank(
        n_fft // 2 + 1,
        bands,
        fmin,
        fmax,
        rate,
        norm=norm,
        mel_scale="kaldi" if scale == "htk" and norm is None else scale,
        triangularize_in_mel_space=True,
    ).T
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert not ours[:, -1].any()  # Kaldi has no bin there


def test_kaldis_triangles_are_those_written_out() -> None:
    """feat/mel-computations.cc of Kaldi: 23 bands of 16 kHz from 20 Hz, in a loop."""
    config = make(16000, 512, 23, 20.0, 8000.0, "htk", None)
    low, high = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (20.0, 8000.0))
    step = (high - low) / 24
    written = np.zeros((23, 257))
    for k in range(23):
        left, centre, right = (low + (k + j) * step for j in range(3))
        for n in range(256):
            mel = 1127.0 * math.log(1.0 + 16000 / 512 * n / 700.0)
            if left < mel < right:
                up, down = (mel - left) / (centre - left), (right - mel) / (right - centre)
                written[k, n] = up if mel <= centre else down
    ours = filterbank(config.model_copy(update={"triangles": "mel"}))
    np.testing.assert_allclose(ours, written, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "shape",
    [
        (16000, 512, 26, 0.0, 8000.0),  # python_speech_features' own
        (16000, 512, 64, 0.0, 8000.0),  # a side without bins
        (16000, 512, 128, 20.0, 8000.0),  # many, and bands without bins
        (8000, 255, 20, 30.5, 3900.25),
        (22050, 1024, 80, 80.0, 7600.0),
    ],
)
def test_triangles_between_whole_bins_are_python_speech_features(
    shape: tuple[int, int, int, float, float],
) -> None:
    rate, n_fft, bands, fmin, fmax = shape
    written = bin_triangles(bands, n_fft, rate, fmin, fmax)
    made = make(*shape, "htk", None).model_copy(update={"triangles": "bins"})
    np.testing.assert_allclose(filterbank(made), written, rtol=0, atol=1e-12)
    assert build_plan(made, torch.device("cpu")).empty == tuple(empty_bands(written))
    other = made.model_copy(update={"filterbank_rate": rate // 2, "fmax": fmax / 2, "fmin": 0.0})
    written = bin_triangles(bands, n_fft, rate // 2, 0.0, fmax / 2)
    np.testing.assert_allclose(filterbank(other), written, rtol=0, atol=1e-12)


def test_the_norm_of_triangles_between_whole_bins_is_by_half_their_width_in_hz() -> None:
    made = make(16000, 512, 26, 0.0, 8000.0, "slaney", "slaney")
    bins = filterbank(made.model_copy(update={"triangles": "bins"}))
    # A triangle's sum times the width of a bin is its area: half its width times its height.
    np.testing.assert_allclose(bins.sum(axis=1) * 16000 / 512, 1.0, rtol=1e-12)
    narrow = make(16000, 128, 100, 0.0, 8000.0, "htk", "slaney")
    assert np.isfinite(filterbank(narrow.model_copy(update={"triangles": "bins"}))).all()


def test_the_two_mel_scales_invert() -> None:
    hz = np.linspace(0, 12000, 97)
    for scale in ("htk", "slaney"):
        np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, atol=1e-8)


def test_more_bands_than_bins_leaves_some_empty_and_nothing_undefined() -> None:
    made = make(16000, 128, 100, 0.0, 8000.0, "htk", "slaney")
    empty = empty_bands(filterbank(made))
    assert empty.size > 10
    plan = build_plan(made, torch.device("cpu"))
    assert plan.empty == tuple(empty)
    for tensor in (plan.bank, plan.spread, plan.pinv, plan.band_weight):
        assert torch.isfinite(tensor).all()


def test_spreading_rows_sum_to_one_where_a_band_covers_the_bin_and_to_zero_elsewhere() -> None:
    for preset in PRESETS.values():
        plan = build_plan(preset.config, torch.device("cpu"), torch.float64)
        sums = plan.spread.sum(dim=0)
        covered = plan.bank.sum(dim=1) > 0
        assert torch.allclose(sums[covered], torch.ones((), dtype=torch.float64))
        assert (sums[~covered] == 0).all()
