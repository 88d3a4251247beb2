"""The pitch comb: harmonics come back, other sounds and the mel stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.peers import extract
from benchmarks.pitch import Voiced, pitch_figures
from tests.signals import music
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.joint import pitch_comb
from unmel.models.methods.recipe import Harmonics, resolve
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan

Wave = NDArray[np.float32]

ENGINE = Engine(backend="torch")
HIFIGAN = PRESETS["hifigan-22k"].config
F0 = 150.0


def altered(**changes: object) -> MelConfig:
    return MelConfig.model_validate(HIFIGAN.model_dump() | changes)


# No octave below, and one.
ODD = altered(n_fft=1103, hop_length=275, win_length=1103)
FEW = altered(n_fft=1100, hop_length=276, win_length=1100)


def pulses(rate: int, seconds: float = 1.2) -> Wave:
    """A buzz of a steady pitch, 12 dB an octave darker above 500 Hz."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.zeros(len(t))
    for k in range(1, int(0.45 * rate / F0)):
        wave += np.cos(2 * np.pi * k * F0 * t) / (1 + (k * F0 / 500) ** 2)
    return (0.1 * wave).astype(np.float32)


def noise(rate: int) -> Wave:
    return (0.1 * np.random.default_rng(0).standard_normal(rate)).astype(np.float32)


def siren(rate: int) -> Wave:
    t = np.arange(rate) / rate
    return (0.3 * np.sin(2 * np.pi * np.cumsum(900 + 500 * np.sin(2 * np.pi * t)) / rate)).astype(
        np.float32
    )


def made(wave: Wave, config: MelConfig, harmonics: Harmonics, n_iter: int = 40) -> Wave:
    mel = np.ascontiguousarray(extract(config, wave).values.T)
    recipe = resolve(config.power, octaves=config.octaves, n_iter=n_iter, harmonics=harmonics)
    [result] = ENGINE.run([Item(mel, config, recipe, config.samples(len(mel)))])
    return np.asarray(result.values, np.float32)


def modulation(wave: Wave, rate: int) -> float:
    """How alike the envelope of 2 to 4 kHz is from one period of `F0` to the next."""
    sixteen = np.interp(
        np.arange(0, len(wave) / rate, 1 / 16000), np.arange(len(wave)) / rate, wave
    )
    centres = np.arange(3000, len(sixteen) - 3000, 160)
    voiced = Voiced(centres, np.full(len(centres), 16000 / F0))
    return float(pitch_figures(sixteen.astype(np.float32), voiced, [(2000.0, 4000.0)])[1])


@pytest.mark.parametrize("config", [HIFIGAN, ODD, FEW], ids=["four octaves", "none", "one"])
def test_pulses_come_back_where_bands_are_wider_than_harmonics(config: MelConfig) -> None:
    rate = config.sample_rate
    wave = pulses(rate)
    without, with_comb = (
        modulation(made(wave, config, harmonics), rate) for harmonics in ("off", "auto")
    )
    assert with_comb > without + 0.2
    assert with_comb > 0.7 * modulation(wave, rate)


def mel_error(wave: Wave, result: Wave, config: MelConfig) -> float:
    """Mean distance of two stored mels."""
    ours, theirs = (extract(config, w[: len(result)]).values for w in (result, wave))
    return float(np.abs(ours - theirs).mean())


@pytest.mark.parametrize("sound", [noise, siren, lambda rate: music(1.0, rate), pulses])
def test_every_sound_keeps_its_mel(sound: Callable[[int], Wave]) -> None:
    wave = sound(HIFIGAN.sample_rate)
    without, with_comb = (
        mel_error(wave, made(wave, HIFIGAN, harmonics), HIFIGAN) for harmonics in ("off", "auto")
    )
    assert with_comb < without + 0.015


def test_noise_is_left_as_it_was() -> None:
    wave = noise(HIFIGAN.sample_rate)
    assert abs(modulation(made(wave, HIFIGAN, "auto"), HIFIGAN.sample_rate)) < 0.15


def rates_of(monkeypatch: pytest.MonkeyPatch, config: MelConfig) -> tuple[list[float], list[float]]:
    """Rates of the stages behind or in which the pitch is looked for, and of those with combs."""
    looked, mixed = [], []
    find, mix = pitch_comb.find_comb, pitch_comb.PitchComb.mix

    def finds(pack: PackedStft, plan: Plan, mel: object) -> pitch_comb.PitchComb:
        looked.append(pack.plan.config.sample_rate)
        return find(pack, plan, mel)  # type: ignore[arg-type] # handed on

    def mixes(self: pitch_comb.PitchComb, pack: PackedStft, strength: float) -> None:
        mixed.append(pack.plan.config.sample_rate)
        mix(self, pack, strength)

    monkeypatch.setattr(pitch_comb, "find_comb", finds)
    monkeypatch.setattr(pitch_comb.PitchComb, "mix", mixes)
    made(pulses(config.sample_rate, 0.3), config, "auto", n_iter=20)
    return looked, sorted(set(mixed))


@pytest.mark.parametrize(
    ("config", "looked", "mixed"),
    [
        (HIFIGAN, [5512], [11025, 22050]),
        (PRESETS["speecht5-16k"].config, [4000], [8000, 16000]),
        (PRESETS["bigvgan-44k"].config, [5512], [11025, 22050, 44100]),
        (ODD, [22050], [22050]),
        (FEW, [11025], [11025, 22050]),
        (altered(sample_rate=4000, fmax=2000.0), [], []),
        (altered(sample_rate=8000, fmax=4000.0), [4000], [8000]),
    ],
)
def test_the_pitch_is_found_behind_the_last_stage_of_a_low_rate(
    config: MelConfig, looked: list[int], mixed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rates_of(monkeypatch, config)
    assert [int(rate) for rate in found[0]] == looked
    assert [int(rate) for rate in found[1]] == mixed


def test_no_comb_is_run_where_it_is_off_or_the_phases_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a comb")

    monkeypatch.setattr(pitch_comb, "find_comb", fail)
    made(pulses(22050, 0.2), HIFIGAN, "off")
    assert resolve(1.0, start="given").schedule.comb == 0.0
    assert resolve(1.0).schedule.comb > 0.0
