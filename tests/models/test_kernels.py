"""Compiled loops do what torch's do, but for roundings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from models.compiled import LOOPS
from models.config import MelConfig
from models.engine import Engine, Item, Output
from models.kernels import powers, turns
from models.pghi import integrate
from models.plan import build_plan
from models.presets import PRESETS
from models.raising import raised
from models.recipe import Recipe, resolve
from models.schedule import FLAT
from models.stft import PackedStft
from tests.families import FAMILIES
from tests.models.test_engine import RECIPES, item
from tests.signals import voice

pytestmark = pytest.mark.loops

COMPILED, PLAIN = Engine(), Engine(backend="torch")
CPU = torch.device("cpu")


NEAR = 2.0**-13
"""As a share of the samples: some iterations make more of a rounding."""


def assert_near(items: list[Item], near: float = NEAR) -> None:
    for ours, theirs in zip(COMPILED.run(items), PLAIN.run(items), strict=True):
        assert ours.values.shape == theirs.values.shape
        apart = np.linalg.norm(ours.values - theirs.values)
        assert apart <= near * np.linalg.norm(theirs.values)


def voices(config: MelConfig, recipe: Recipe, seconds: tuple[float, ...]) -> list[Item]:
    return [
        item(voice(s, config.sample_rate, seed=k), config, recipe, seed=k)
        for k, s in enumerate(seconds)
    ]


def test_one_engine_has_compiled_loops_and_the_other_has_not() -> None:
    assert COMPILED.kernels is not None
    assert PLAIN.kernels is None
    pack = PackedStft(
        build_plan(PRESETS["librosa"].config, CPU, torch.float64), [(4, 900)], LOOPS.wait()
    )
    assert pack.loops is not None
    assert pack.kernels is None  # they are float32's


@pytest.mark.parametrize("name", FAMILIES)
def test_compiled_loops_give_what_torchs_give_for_every_kind_of_config(name: str) -> None:
    config = PRESETS[name].config
    items = voices(config, resolve(config.power, n_iter=2), (0.21, 1.9, 0.05, 0.4))
    assert_near(items)


@pytest.mark.parametrize("kind", RECIPES)
def test_every_method_does_the_same_on_either(kind: str) -> None:
    config = PRESETS["hifigan-22k"].config
    recipe = resolve(1, n_iter=2, **RECIPES[kind])  # type: ignore[arg-type] # names of options
    items = voices(config, recipe, (0.3, 0.17))
    assert_near(items)


@pytest.mark.parametrize("name", ["hifigan-22k", "styletts2-24k", "audioldm-16k"])
def test_phases_that_grow_by_loudness_are_the_same(name: str) -> None:
    config = PRESETS[name].config
    items = voices(config, resolve(config.power, n_iter=1, start="pghi"), (0.5, 0.2))
    assert_near(items)


def test_equally_loud_bins_leave_the_heap_in_order_of_place() -> None:
    generator = np.random.default_rng(4)
    level = generator.integers(0, 3, (30, 40)).astype(np.float64)  # many ties
    slopes = generator.standard_normal((2, 30, 40))
    found = []
    for kernels in (None, LOOPS.wait()):
        phases = np.zeros((30, 40))
        integrate(level, slopes[0], slopes[1], 0.5, phases, kernels)
        found.append(phases)
    assert np.array_equal(*found)


@pytest.mark.parametrize("output", ["magnitude", "stft"])
def test_spectra_are_the_same_on_either(output: Output) -> None:
    config = PRESETS["pwg-24k"].config
    one = dataclasses.replace(voices(config, resolve(1, n_iter=3), (0.3,))[0], output=output)
    assert_near([one])


@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129])
def test_tails_of_groups_and_runs_are_the_same(frames: int) -> None:
    config = PRESETS["hifigan-22k"].config
    whole = voices(config, resolve(1, n_iter=2), (2.0,))[0]
    one = dataclasses.replace(whole, mel=whole.mel[:frames], samples=config.samples(frames))
    assert_near([one])


@pytest.mark.parametrize(
    "change",
    [
        {"win_length": 1000, "hop_length": 300},  # windows that no hop divides
        {"n_fft": 777, "hop_length": 111},  # an odd transform
        {"hop_length": 16, "win_length": 1024},  # many frames share a sample
        {"n_mels": 1},
        {"n_fft": 256, "hop_length": 64, "n_mels": 160},  # empty bands
        {"fmin": 300.0, "fmax": 3000.0},  # few bins, far from both ends
        {"power": 2, "norm": None, "mel_scale": "htk"},
    ],
)
def test_configs_nobody_uses_are_done_alike_too(change: dict[str, object]) -> None:
    base = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256, "n_mels": 80, "scale": "ln"}
    config = MelConfig(**{**base, **change})  # type: ignore[arg-type] # names of fields
    items = voices(config, resolve(config.power, n_iter=2), (0.4, 0.11))
    assert_near(items)


def test_an_exponent_of_one_is_left_out_on_both() -> None:
    config = PRESETS["hifigan-22k"].config
    recipe = resolve(1, n_iter=2)
    flat = dataclasses.replace(
        recipe, schedule=dataclasses.replace(recipe.schedule, exponent=FLAT, blend=FLAT)
    )
    items = voices(config, flat, (0.3,))
    assert_near(items)


@pytest.mark.parametrize("exponent", [0.5, 0.65, 1.3, 1.72])
def test_a_power_is_the_power_and_a_loops_is_too(exponent: float) -> None:
    values = torch.logspace(-20, 4, 10_000)
    exact = values.double().pow(float(np.float32(exponent)))
    compiled = values.numpy().copy()
    powers.raise_eights(compiled, np.float32(exponent))
    ordinary = values > 1e-3  # far below, the logarithm's own rounding counts
    for found in (raised(values, exponent), torch.from_numpy(compiled)):
        assert (found[ordinary] / exact[ordinary] - 1.0).abs().max() < 2e-6
    assert raised(torch.zeros(1), exponent) == 0.0


@pytest.mark.parametrize("pack_bytes", [2**29, 2**21])  # as packs, and in blocks with settled pasts
@pytest.mark.parametrize("name", FAMILIES)
def test_iterations_that_go_together_have_the_bits_of_one_after_the_other(
    name: str, pack_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PRESETS[name].config
    items = voices(config, resolve(config.power, n_iter=5), (0.9, 0.04, 2.3, 0.07))
    found = []
    for most in (1, 2, 4, 7):
        monkeypatch.setattr(turns, "_MOST", most)
        monkeypatch.setattr(turns, "_TOGETHER", 2**30)
        engine = Engine(pack_bytes=pack_bytes)
        found.append([result.values.tobytes() for result in engine.run(items)])
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("name", ["hifigan-22k", "torchaudio", "styletts2-24k"])
@pytest.mark.parametrize("raw", [False, True])
def test_overlap_add_is_the_sum_of_shifted_windows(name: str, raw: bool) -> None:
    """Both against the definition, in float64 and one sample at a time."""
    config = PRESETS[name].config
    frames, samples = 21, config.samples(21)
    plan = build_plan(config, CPU)
    spectrum = torch.fft.rfft(torch.randn(24, config.n_fft, generator=torch.Generator()))
    spectrum[frames:] = 0.0
    waves = torch.fft.irfft(spectrum, n=config.n_fft).double()[:, : config.win_length]
    sums = torch.zeros(40 * config.hop_length + config.win_length, dtype=torch.float64)
    envelope = torch.zeros_like(sums)
    for t in range(frames):
        place = slice(t * config.hop_length, t * config.hop_length + config.win_length)
        sums[place] += waves[t] * plan.window
        envelope[place] += plan.window.double() ** 2
    for kernels in (None, LOOPS.wait()):
        pack = PackedStft(plan, [(frames, samples)], kernels)
        into = torch.zeros_like(pack.signal)
        pack.begin(raw=into if raw else None)
        for block in (slice(0, 1), slice(1, 3), slice(3, 24)):
            pack.add(block, spectrum[block])
        if raw:
            done = slice(0, 24 * config.hop_length)
            assert torch.allclose(into[done].double(), sums[done], atol=1e-5)
            assert not pack.signal.any()
        else:
            pack.finish()
            inside = slice(config.lead, config.lead + samples - config.hop_length)
            expected = sums[inside] / envelope[inside]
            assert torch.allclose(pack.signal[inside].double(), expected, atol=1e-4)


def test_a_clip_that_falls_silent_does_so_on_either() -> None:
    config = PRESETS["vocos-24k"].config
    wave = np.concatenate(
        [voice(0.3, config.sample_rate), np.zeros(config.sample_rate, np.float32)]
    )
    one = item(wave, config, resolve(config.power, n_iter=2))
    assert_near([one])
