"""The pitch figures of the quality bench."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pitch import BANDS, RATE, Voiced, pitch_figures, voiced_frames
from benchmarks.twins import pitch as twin

F0 = 140.0
"""No divisor of the rate: its period lies between samples."""


def pulses(seconds: float = 1.0, f0: float = F0) -> np.ndarray:
    """A band-limited pulse train: every harmonic below 7.9 kHz with the same amplitude."""
    times = np.arange(round(seconds * RATE)) / RATE
    harmonics = np.arange(1, int(7900 / f0) + 1)
    return (np.cos(2 * np.pi * f0 * np.outer(times, harmonics)).mean(axis=1)).astype(np.float32)


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)


def frames(period: float, seconds: float = 1.0) -> Voiced:
    centres = np.arange(0, round(seconds * RATE), 160)
    return Voiced(centres, np.full(len(centres), period))


def test_a_pulse_train_has_r_and_e_of_one_in_every_band() -> None:
    figures = pitch_figures(pulses(), frames(RATE / F0))
    assert figures == pytest.approx(np.ones(2 * len(BANDS)), abs=0.01)


def test_a_period_that_is_two_percent_off_is_found() -> None:
    figures = pitch_figures(pulses(), frames(RATE / F0 * 1.02))
    assert figures == pytest.approx(np.ones(2 * len(BANDS)), abs=0.01)


def test_noise_has_neither() -> None:
    figures = pitch_figures(noise(4.0), frames(RATE / F0, 4.0))
    assert (figures[:3] < 0.25).all()
    assert (abs(figures[3:]) < 0.12).all()


def test_noise_modulated_at_the_pitch_has_e_but_not_r() -> None:
    swell = 1.0 + np.cos(2 * np.pi * F0 / RATE * np.arange(4 * RATE))
    figures = pitch_figures((noise(4.0) * swell).astype(np.float32), frames(RATE / F0, 4.0))
    assert (figures[:3] < 0.3).all()
    assert (figures[3:] > 0.4).all()


def test_a_level_does_not_count_and_silence_has_neither() -> None:
    voiced = frames(RATE / F0)
    mixed = pulses() + 0.05 * noise()
    assert pitch_figures(100 * mixed, voiced) == pytest.approx(pitch_figures(mixed, voiced), 1e-4)
    assert (pitch_figures(np.zeros(RATE, np.float32), voiced) == 0.0).all()


def test_frames_without_room_for_their_periods_do_not_count() -> None:
    edges = Voiced(np.array([0, RATE - 1]), np.full(2, RATE / F0))
    assert np.isnan(pitch_figures(pulses(), edges)).all()
    assert np.isnan(pitch_figures(pulses(), Voiced(edges.centres[:0], edges.periods[:0]))).all()


@pytest.mark.parametrize("f0", [87.0, 231.0])
@pytest.mark.parametrize("edges", BANDS)
def test_they_are_what_the_slow_twin_finds(f0: float, edges: tuple[float, float]) -> None:
    wave = (pulses(0.4, f0) + 0.3 * noise(0.4)).astype(np.float32)
    found = pitch_figures(wave, Voiced(np.array([3200]), np.array([RATE / f0])), [edges])
    expected = twin.figures(wave.astype(np.float64), 3200, RATE / f0, *edges)
    assert found == pytest.approx(expected, abs=0.03)


def test_the_voiced_frames_of_a_pulse_train_have_its_period() -> None:
    silence = np.zeros(RATE // 2, np.float32)
    voiced = voiced_frames(np.concatenate([silence, pulses(), silence]))
    inside = (voiced.centres > 0.6 * RATE) & (voiced.centres < 1.4 * RATE)
    assert inside.sum() >= 75
    assert voiced.periods[inside] == pytest.approx(RATE / F0, rel=0.01)
    assert not ((voiced.centres < 0.4 * RATE) | (voiced.centres > 1.6 * RATE)).any()
