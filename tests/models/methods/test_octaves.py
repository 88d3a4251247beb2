"""Octaves: frames at a lower rate are the lower bins of those at a higher one; runs begin there."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from tests.models.engine.test_engine import item, mel_error
from tests.signals import voice
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MAX_OCTAVES, MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.joint.octaves import ladder, lowered
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import QUALITIES, SHARES, Ramp, Schedule
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

pytestmark = pytest.mark.loops

CPU = torch.device("cpu")
HIFIGAN = PRESETS["hifigan-22k"].config
PADDINGS = [
    "hifigan-22k",
    "tacotron2-22k",
    "whisper-80",
    "pwg-24k",
    "audioldm-16k",
    "cosyvoice2-24k",
]


def config(**lengths: int) -> MelConfig:
    given = {"n_fft": 1024, "hop_length": 256, "win_length": 1024, **lengths}
    return MelConfig(sample_rate=22050, n_mels=80, scale="ln", **given)  # type: ignore[arg-type] # lengths are ints


@pytest.mark.parametrize(
    ("lengths", "octaves"),
    [
        ({}, MAX_OCTAVES),
        ({"hop_length": 275, "win_length": 1100, "n_fft": 2048}, 0),
        ({"hop_length": 300, "win_length": 1200, "n_fft": 2048}, 2),
        ({"n_fft": 1023, "win_length": 1022}, 0),
        ({"n_fft": 64, "win_length": 64, "hop_length": 16}, 1),
        ({"n_fft": 32, "win_length": 32, "hop_length": 16}, 0),
    ],
)
def test_a_config_has_as_many_octaves_as_its_lengths_halve(
    lengths: dict[str, int], octaves: int
) -> None:
    assert config(**lengths).octaves == octaves


@pytest.mark.parametrize("name", PRESETS)
def test_an_octave_has_the_bands_that_lie_in_it_whole_and_no_others(name: str) -> None:
    plans = ladder(build_plan(PRESETS[name].config, CPU, torch.float64), len(SHARES))
    assert len(plans) > 2
    for lower, upper in itertools.pairwise(plans):
        assert 2 * lower.config.n_fft == upper.config.n_fft
        n_bins = lower.config.n_bins
        assert lower.n_active_bins < n_bins
        within = upper.bank[n_bins - 3 :].sum(0) == 0
        for k in range(lower.config.n_mels):
            expected = upper.bank[:n_bins, k] if within[k] else torch.zeros(n_bins)
            assert torch.equal(lower.bank[:, k], expected.to(lower.dtype))
        assert not (within & (upper.alive > 0))[lower.config.n_mels :].any()


def low_passed(wave: np.ndarray, step: int) -> np.ndarray:
    """Without what lies above 0.8 of the band that a `step`-th of the rate holds."""
    spectrum = np.fft.rfft(wave)
    spectrum[int(0.8 * len(spectrum) / step) :] = 0.0
    return np.fft.irfft(spectrum, len(wave)).astype(np.float64)


@pytest.mark.parametrize("name", PADDINGS)
def test_frames_of_an_octave_are_the_lower_bins_of_the_whole(name: str) -> None:
    plan = build_plan(PRESETS[name].config, CPU, torch.float64)
    clips = [(plan.config.frames(n), n) for n in (19200, 9600)]
    pack = PackedStft(plan, clips)
    for lower_plan in ladder(plan, len(SHARES))[:-1]:
        lower = lowered(pack, lower_plan)
        assert (lower.starts, lower.rows) == (pack.starts, pack.rows)
        step = plan.config.hop_length // lower_plan.config.hop_length
        waves = [low_passed(voice(1.0)[:n], step) for _, n in clips]
        pack.load([torch.from_numpy(wave) for wave in waves])
        lower.load([torch.from_numpy(wave[::step].copy()) * step for wave in waves])
        for start, (frames, _) in zip(pack.starts, clips, strict=True):
            # Past the edges, where a reflection has a kink that no low rate holds.
            inner = slice(start + plan.config.overlap, start + frames - 2 * plan.config.overlap)
            whole = torch.cat([pack.spectrum(run).clone() for run in pack.runs()])[inner]
            part = torch.cat([lower.spectrum(run).clone() for run in lower.runs()])[inner]
            kept = slice(int(0.75 * lower_plan.config.n_bins))
            error = (whole[:, kept] - part[:, kept]).abs().max() / whole.abs().max()
            assert error < 1e-3, (name, step, error)


def test_a_pinned_past_is_pinned_at_every_rate() -> None:
    plan = build_plan(HIFIGAN, CPU, torch.float64)
    wave = torch.from_numpy(low_passed(voice(1.0), 2)[:12800])
    pack = PackedStft(plan, [(50, 12800), (8, 2048)])
    pack.pin([wave[: 40 * 256], wave[:0]])
    lower = lowered(pack, ladder(plan, 2)[0])
    lower.begin()
    for run in lower.runs():
        lower.add(
            run, torch.zeros(run.stop - run.start, lower.plan.config.n_bins, dtype=torch.complex128)
        )
    lower.finish()
    inner = slice(4 * 128, 36 * 128)  # its ends ring a little
    assert torch.allclose(lower.signal[inner], 2 * wave[::2][inner], atol=2e-3)
    assert not lower.signal[lower.starts[1] * lower.hop :].any()


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("n_iter", [16, 20, 80, 320])
def test_stages_share_the_work_that_was_asked_for(count: int, n_iter: int) -> None:
    schedule = dataclasses.replace(QUALITIES[1]["standard"], n_iter=n_iter)
    stages = schedule.stages(count)
    work = sum(stage.n_iter / 2**k for k, stage in enumerate(reversed(stages)))
    assert len(stages) == count
    assert abs(work - n_iter) <= 1
    shares = SHARES[-count:]
    assert abs(stages[-1].n_iter - n_iter * shares[-1] / sum(shares)) <= 0.5


def test_a_ramp_goes_on_from_stage_to_stage() -> None:
    schedule = Schedule(40, Ramp(0.0, 1.0), exponent=Ramp(2.0, 1.0), shares=(0.5, 0.5))
    first, second = schedule.stages(2)
    assert (first.momentum, second.momentum) == (Ramp(0.0, 0.5), Ramp(0.5, 1.0))
    assert (first.exponent, second.exponent) == (Ramp(2.0, 1.5), Ramp(1.5, 1.0))


def test_the_whole_band_is_run_at_least_once() -> None:
    assert [s.n_iter for s in QUALITIES[1]["draft"].stages(1)] == [QUALITIES[1]["draft"].n_iter]
    assert all(
        s.n_iter >= 1 for s in dataclasses.replace(QUALITIES[1]["draft"], n_iter=1).stages(5)
    )


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "pwg-24k", "fish-44k"])
def test_octaves_come_closer_to_the_mel_for_the_same_work(name: str) -> None:
    preset = PRESETS[name].config
    recipe = resolve(preset.power, n_iter=24)
    flat = dataclasses.replace(recipe, schedule=dataclasses.replace(recipe.schedule, shares=(1.0,)))
    wave = voice(1.0, preset.sample_rate)
    stepped, whole = (
        mel_error(preset, wave, Engine().run([item(wave, preset, r)])[0].values)
        for r in (recipe, flat)
    )
    assert stepped < whole


def test_a_config_without_octaves_is_run_whole_and_for_longer() -> None:
    odd = config(n_fft=1100, hop_length=275, win_length=1100)
    few, many = (resolve(1, octaves=c.octaves) for c in (HIFIGAN, odd))
    assert many.n_iter == 2 * few.n_iter
    wave = voice(0.5)
    assert len(ladder(build_plan(odd, CPU), len(SHARES))) == 1
    [result] = Engine().run([item(wave, odd, many)])
    assert mel_error(odd, wave, result.values) < 0.1


def test_a_config_of_a_handful_of_bands_is_run_whole() -> None:
    assert build_plan(config().model_copy(update={"n_mels": 10}), CPU).below is None


def test_no_iteration_is_the_start_alone() -> None:
    mel = np.full((6, 80), -3.0, np.float32)
    recipe = resolve(1, n_iter=0)
    [result] = Engine().run([Item(mel, HIFIGAN, recipe, HIFIGAN.samples(6))])
    assert result.values.any()
    assert np.isfinite(result.values).all()
