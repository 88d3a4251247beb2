"""Mel inversion by ADMM: its formula written out, its limits, and what it is good for."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from models.analysis import analyze
from models.config import MelConfig
from models.engine import Engine, Item
from models.filterbank import filterbank
from models.inversion import transpose
from models.joint import JOINT
from models.presets import PRESETS
from models.recipe import resolve
from models.schedule import joint_schedule
from tests.models.packs import pack_of, plan_of, voices
from tests.signals import voice

ENGINE = Engine()


def mel_error(config: MelConfig, mel: np.ndarray, result: np.ndarray) -> float:
    """Relative distance of the result's linear mel `[T, K]` from `mel`."""
    again = analyze(ENGINE.plans.get(config), result).T
    return float(np.linalg.norm(again - mel) / np.linalg.norm(mel))


def test_it_is_its_three_steps_written_out() -> None:
    plan = plan_of("tacotron2-22k")
    [wave] = voices(plan, [0.4])
    bank = filterbank(plan.config)
    framing = {"n_fft": 1024, "hop_length": 256}
    mel = bank @ np.abs(librosa.stft(wave, pad_mode="reflect", **framing))
    mel /= mel.max()
    rho = 0.1 * np.mean(np.sum(bank**2, axis=1))
    meet = bank.T @ np.linalg.inv(bank @ bank.T + rho * np.eye(80))
    covered = bank.sum(axis=0)
    share = np.divide(bank, covered, out=np.zeros_like(bank), where=covered > 0)
    phases = np.random.default_rng(2).uniform(0, 2 * np.pi, (513, mel.shape[1]))
    y = share.T @ (mel / bank.sum(axis=1, keepdims=True)) * np.exp(1j * phases)
    u = np.zeros_like(y)
    for _ in range(6):
        x = librosa.stft(librosa.istft(y + u, **framing), pad_mode="reflect", **framing)
        u = u + y - x
        d = x - u
        level = np.maximum(np.abs(d) + meet @ (mel - bank @ np.abs(d)), 0.0)
        y = level * (covered > 0)[:, None] * np.exp(1j * np.angle(d))
    pack = pack_of(plan, [wave])
    rows = pack.spread_rows([torch.from_numpy(mel.T)])
    with torch.inference_mode():
        JOINT["admm_mel"].run(
            pack,
            rows,
            torch.zeros_like(rows, dtype=torch.bool),
            transpose(pack, rows),
            pack.spread_rows([torch.from_numpy(phases.T)]),
            joint_schedule(1, 6),
            rho=0.1,
        )
    np.testing.assert_allclose(pack.audio()[0].numpy(), librosa.istft(y, **framing), atol=1e-8)


@pytest.mark.parametrize("name", ["hifigan-22k", "librosa", "pwg-24k"])
def test_it_comes_closer_to_the_mel_than_two_stages(name: str) -> None:
    preset = PRESETS[name].config
    config = MelConfig(**{**preset.model_dump(), "scale": "linear", "mean": 0.0, "std": 1.0})
    wave = voice(0.6, config.sample_rate)
    mel = np.ascontiguousarray(analyze(ENGINE.plans.get(config), wave).T)
    error = {}
    for kind, options in {
        "few": {"method": "admm_mel", "n_iter": 4},
        "many": {"method": "admm_mel", "n_iter": 50},
        "two": {"phase": "griffin_lim", "n_iter": 50},
    }.items():
        recipe = resolve(config.power, **options)  # type: ignore[arg-type] # names of options
        [result] = ENGINE.run([Item(mel, config, recipe, config.samples(len(mel)))])
        error[kind] = mel_error(config, mel, result.values)
    assert error["many"] < 0.5 * error["few"]
    assert error["many"] < 0.9 * error["two"]


def test_a_value_at_the_floor_is_no_target() -> None:
    config = PRESETS["hifigan-22k"].config
    wave = voice(0.6)
    wave[6000:10000] = 0.0
    mel = np.ascontiguousarray(analyze(ENGINE.plans.get(config), wave).T)
    recipe = resolve(1, method="admm_mel", n_iter=30)
    [result] = ENGINE.run([Item(mel, config, recipe, config.samples(len(mel)))])
    assert np.abs(result.values[7500:8500]).max() < 3e-4
