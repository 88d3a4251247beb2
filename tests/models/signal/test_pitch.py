"""Pitch: the period of what has one, at every rate, and no periodicity where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.optional import load, missing
from tests.models.pretend import CUDA, PretendedCuda
from tests.signals import voice
from unmel.models.backends.base import Backend
from unmel.models.backends.reference import REFERENCE
from unmel.models.mel.config import MelConfig
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.pitch import FMAX, FMIN, Pitch, find_pitch
from unmel.models.signal.plan import build_plan

CPU = torch.device("cpu")
# Rates that are looked at as they are, of octaves; and ones that are decimated first.
RATES = (4000, 5512, 6000, 8000, 16000, 22050, 44100)


def config_at(rate: int) -> MelConfig:
    """Windows of 46 ms every 11.6 ms, about as many samples as powers of two allow."""
    hop = round(0.0116 * rate)
    return MelConfig(sample_rate=rate, n_fft=4 * hop, hop_length=hop, n_mels=20, scale="ln")


def pitch_of(
    waves: Sequence[NDArray[np.float32]],
    config: MelConfig,
    backend: Backend = REFERENCE,
    device: torch.device = CPU,
) -> list[Pitch]:
    """The pitch of each clip's frames."""
    plan = build_plan(config, device)
    pack = PackedStft(plan, [(config.frames(len(w)), len(w)) for w in waves], backend)
    pack.load([torch.from_numpy(w).to(device) for w in waves])
    found = find_pitch(pack)
    rows = [slice(start, start + frames) for start, frames, _ in pack.extents]
    return [Pitch(found.seconds[r], found.periodicity[r]) for r in rows]


def pulses(f0: NDArray[np.float64], rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Harmonics up to 2 kHz of a fundamental `[L]`, in random phases."""
    phase = 2 * np.pi * np.cumsum(f0) / rate
    turns = np.random.default_rng(seed).uniform(0, 2 * np.pi, 64)
    top = min(2000.0, 0.45 * rate)
    wave = sum((np.sin(k * phase + turns[k]) * (k * f0 < top)) / k for k in range(1, 40))
    return (0.01 * wave).astype(np.float32)


def middle(values: torch.Tensor) -> NDArray[np.float32]:
    """The rows away from the clip's ends."""
    found: NDArray[np.float32] = values[8:-8].numpy()
    return found


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("f0", [65.0, 100.0, 173.0, 240.0, 390.0, 530.0])
def test_the_period_of_a_steady_voice_is_exact_to_half_a_percent(f0: float, rate: int) -> None:
    [pitch] = pitch_of([pulses(np.full(rate, f0), rate)], config_at(rate))
    assert np.abs(middle(pitch.seconds) * f0 - 1.0).max() < 0.005
    assert middle(pitch.periodicity).min() > 0.95


def test_a_glide_is_followed() -> None:
    rate = 6000
    f0 = 110.0 * 2.0 ** (0.8 * np.sin(2 * np.pi * 0.7 * np.arange(2 * rate) / rate))
    config = config_at(rate)
    [pitch] = pitch_of([pulses(f0, rate)], config)
    true = f0[np.arange(len(pitch.seconds)) * config.hop_length % len(f0)]
    assert np.abs(middle(pitch.seconds * torch.from_numpy(true)) - 1.0).max() < 0.02


def test_neither_noise_nor_silence_is_periodic() -> None:
    rate = 6000
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * rate).astype(np.float32)
    noisy, silent = pitch_of([noise, np.zeros(rate, np.float32)], config_at(rate))
    assert np.percentile(noisy.periodicity.numpy(), 95) < 0.5
    assert not silent.periodicity.any()
    for found in (noisy, silent):
        assert (1 / found.seconds > 0.97 * FMIN).all()
        assert (1 / found.seconds < 1.03 * FMAX).all()


def test_a_period_is_not_taken_for_two() -> None:
    """Where every second pulse is a little weaker, both fit."""
    rate, f0 = 5512, 200.0
    wave = pulses(np.full(rate, f0), rate) + 0.05 * pulses(np.full(rate, f0 / 2), rate, seed=1)
    [pitch] = pitch_of([wave], config_at(rate))
    assert np.abs(middle(pitch.seconds) * f0 - 1.0).max() < 0.02


@pytest.mark.parametrize("rate", [5512, 22050])
def test_a_clip_has_the_same_pitch_alone_and_in_a_pack(rate: int) -> None:
    config = config_at(rate)
    waves = [voice(seconds, rate, seed=k) for k, seconds in enumerate((0.3, 0.9, 0.04, 1.4))]
    for wave, packed in zip(waves, pitch_of(waves, config), strict=True):
        [alone] = pitch_of([wave], config)
        assert torch.equal(alone.seconds, packed.seconds)
        assert torch.equal(alone.periodicity, packed.periodicity)


@pytest.mark.parametrize("rate", [5512, 22050])
def test_a_gpus_products_find_what_transforms_do(rate: int) -> None:
    waves = [voice(seconds, rate, seed=k) for k, seconds in enumerate((0.3, 0.9, 0.04))]
    with PretendedCuda():
        there = [
            (pitch.seconds.cpu(), pitch.periodicity.cpu())
            for pitch in pitch_of(waves, config_at(rate), device=CUDA)
        ]
    for (seconds, periodicity), here in zip(there, pitch_of(waves, config_at(rate)), strict=True):
        torch.testing.assert_close(seconds, here.seconds, rtol=1e-3, atol=0.0)
        torch.testing.assert_close(periodicity, here.periodicity, rtol=0.0, atol=1e-4)


def agreement(
    f0: NDArray[np.float64], voiced: NDArray[np.bool_], times: NDArray[np.float64]
) -> float:
    """Share of another tracker's voiced frames in which both agree to 3 %."""
    rate = 6000
    config = config_at(rate)
    [pitch] = pitch_of([voice(4.0, rate)], config)
    middles = np.arange(len(pitch.seconds)) * config.hop_length / rate
    ours = np.interp(times, middles, 1.0 / pitch.seconds.numpy().astype(np.float64))
    return float(np.mean(np.abs(ours[voiced] / f0[voiced] - 1.0) < 0.03))


def test_it_agrees_with_pyin() -> None:
    librosa = pytest.importorskip("librosa")
    f0, voiced, _ = librosa.pyin(
        voice(4.0, 16000), fmin=FMIN, fmax=FMAX, sr=16000, frame_length=1024, hop_length=160
    )
    assert voiced.sum() > 100
    assert agreement(f0, voiced, np.arange(len(f0)) * 0.01) > 0.95


@pytest.mark.slow
def test_it_agrees_with_crepe() -> None:
    if missing(("torchcrepe", "resampy", "tqdm")):
        pytest.skip("no torchcrepe, a package of the bench")
    torchcrepe = load("torchcrepe")
    f0, periodicity = torchcrepe.predict(
        torch.from_numpy(voice(4.0, 16000))[None],
        16000,
        160,
        FMIN,
        FMAX,
        "tiny",
        return_periodicity=True,
        decoder=torchcrepe.decode.weighted_argmax,
    )
    values = f0[0].numpy().astype(np.float64)
    voiced = periodicity[0].numpy() > 0.6
    assert voiced.sum() > 100
    assert agreement(values, voiced, np.arange(len(values)) * 0.01) > 0.9
