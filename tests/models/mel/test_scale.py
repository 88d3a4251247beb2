"""Value scales: compress and decompress undo each other above the floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.peers import store
from unmel.models.mel.config import MelConfig

SCALES: list[dict[str, Any]] = [
    {"scale": "linear"},
    {"scale": "linear", "power": 2},
    {"scale": {"kind": "ln", "clip": 1e-5}},
    {"scale": {"kind": "ln", "clip": 1e-7}, "power": 2},
    {"scale": {"kind": "ln", "clip": 0.0, "offset": 1e-5}},
    {"scale": {"kind": "ln", "clip": 0.0, "offset": 1.0}},
    {"scale": {"kind": "ln", "clip": 0.0, "offset": 1e-5}, "power": 2, "mean": -4.0, "std": 4.0},
    {"scale": {"kind": "ln", "clip": 1e-5}, "mean": -5.536622, "std": 2.116101},
    {"scale": {"kind": "log10", "clip": 1e-10}},
    {"scale": "log10", "mean": (-1.0, -2.0, -3.0), "std": (0.5, 1.0, 2.0)},
    {"scale": "db"},
    {"scale": "db", "power": 2},
    {"scale": {"kind": "db", "reference": 4.0, "floor": 1e-8, "top_db": 80.0}, "power": 2},
    {"scale": {"kind": "db", "reference": 4.0, "floor": 1e-8, "top_db": 80.0}},
    {"scale": "coqui"},
    {"scale": {"kind": "coqui", "ref_db": 20.0, "min_db": -80.0, "max_norm": 1.0}},
    {"scale": "whisper", "power": 2},
    {"scale": {"kind": "ln", "clip": 1e-6}, "power": 1.7},
    {"scale": "db", "power": 0.5},
    {"scale": {"kind": "db", "reference": 4.0, "floor": 1e-8, "top_db": 80.0}, "power": 1.3},
    {"scale": {"kind": "coqui", "ref_db": 60.0, "min_db": -200.0}, "power": 0.5},
    {"scale": "coqui", "power": 1.7},
    {"scale": "whisper", "power": 1.3},
]


def config(**fields: Any) -> MelConfig:
    return MelConfig(sample_rate=16000, n_fft=512, hop_length=128, n_mels=3, **fields)


@pytest.mark.slow
@pytest.mark.parametrize("fields", SCALES, ids=str)
@settings(deadline=None)
@given(exponents=st.lists(st.floats(-6.0, 0.9), min_size=3, max_size=12))
def test_decompress_undoes_compress_above_the_floor(
    fields: dict[str, Any], exponents: list[float]
) -> None:
    made = config(**fields)
    rows = len(exponents) // 3
    mel = 10.0 ** torch.tensor(exponents[: rows * 3], dtype=torch.float64).reshape(rows, 3)
    floor = made.scale.clamp_level(float(mel.max()), made.power)
    back = made.decompress(made.compress(mel))
    above = mel > floor
    assert torch.allclose(back[above], mel[above], rtol=1e-9, atol=1e-12)
    assert torch.allclose(back[~above], torch.tensor(floor, dtype=torch.float64), rtol=1e-9)


@pytest.mark.parametrize("fields", SCALES, ids=str)
def test_compress_equals_librosa_and_numpy(fields: dict[str, Any]) -> None:
    made = config(**fields)
    rng = np.random.default_rng(1)
    mel = (10.0 ** rng.uniform(-7, 0.8, (3, 40))).astype(np.float32)
    stored = made.compress(torch.from_numpy(mel.T.astype(np.float64))).T.numpy()
    np.testing.assert_allclose(stored, store(made, mel).values, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("fields", SCALES, ids=str)
def test_decompress_gives_finite_non_negative_levels(
    fields: dict[str, Any],
) -> None:
    made = config(**fields)
    back = made.decompress(torch.linspace(-30.0, 8.0, 300).reshape(100, 3))
    assert torch.isfinite(back).all()
    assert (back >= 0).all()


def test_half_precision_values_of_nemo_44k_keep_their_quiet_parts() -> None:
    """ln(x + 1) of a small x is small: log1p and expm1 keep the digits that log and exp lose."""
    made = config(scale={"kind": "ln", "clip": 0.0, "offset": 1.0})
    mel = torch.tensor([[1e-6, 1e-5, 1e-4]])
    assert torch.allclose(made.decompress(made.compress(mel)), mel, rtol=1e-5)
