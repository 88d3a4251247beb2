"""Mel inversion by ADMM: against its formula, its limits and its quality."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.twins import joint as twins
from benchmarks.twins.frames import Frames
from tests.models.packs import pack_of, voices
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import transpose
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import joint_schedule
from unmel.models.signal.plan import build_plan

pytestmark = pytest.mark.loops

ENGINE = Engine()


def mel_error(config: MelConfig, mel: np.ndarray, result: np.ndarray) -> float:
    """Relative distance of the result's linear mel `[T, K]` from `mel`."""
    again = analyze(ENGINE.plans.get(config), result).T
    return float(np.linalg.norm(again - mel) / np.linalg.norm(mel))


@pytest.mark.parametrize("floors", [False, True])
@pytest.mark.parametrize(
    ("name", "power"),
    [
        *(("tacotron2-22k", 1), ("hifigan-22k", 1), ("whisper-80", 2), ("pwg-24k", 1)),
        *(("tacotron2-22k", 0.5), ("whisper-80", 1.3), ("pwg-24k", 1.7)),
    ],
)
def test_it_is_its_three_steps_written_out(name: str, power: float, floors: bool) -> None:
    config = MelConfig.model_validate(PRESETS[name].config.model_dump() | {"power": power})
    plan = build_plan(config, torch.device("cpu"), torch.float64)
    [wave] = voices(plan, [0.4])
    bank = filterbank(plan.config)
    alive = bank.sum(axis=1) > 0
    frames = Frames(plan.config, plan.config.frames(len(wave)))
    mel = bank @ np.abs(frames.spectrum(wave)) ** plan.config.power
    mel /= mel.max()
    bound = (mel < 1e-3) & floors
    phases = np.random.default_rng(2).uniform(0, 2 * np.pi, (plan.config.n_bins, mel.shape[1]))
    theirs = twins.admm_mel(frames, bank[alive], mel[alive], bound[alive], phases, 6)
    pack = pack_of(plan, [wave])
    width = plan.bank.shape[1]
    rows, marked = (
        pack.spread_rows([torch.from_numpy(np.pad(x.T, ((0, 0), (0, width - len(x)))))])
        for x in (mel, bound)
    )
    late = (plan.config.n_fft - plan.config.win_length) // 2
    turned = phases.T + 2 * np.pi * np.arange(plan.config.n_bins) * late / plan.config.n_fft
    with torch.inference_mode():
        JOINT["admm_mel"].run(
            pack,
            rows,
            marked,
            transpose(pack, rows.masked_fill(marked, 0.0)),
            pack.spread_rows([torch.from_numpy(turned)]),
            joint_schedule(plan.config.power, 6),
            rho=0.1,
        )
    np.testing.assert_allclose(pack.audio()[0].numpy(), theirs, atol=1e-6)


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
