"""Backends: each keeps a clip's bits wherever it stands, and each operation is its definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.banks import HIFIGAN, IN_ORDER, MELS, OUT_OF_ORDER, config_of
from tests.families import FAMILIES
from tests.models.engine.test_engine import RECIPES, item
from tests.signals import voice
from unmel.models.backends.base import Backend
from unmel.models.backends.cpu import elementwise, iterations
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.reference import REFERENCE, pow_nonnegative
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item, Output
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.recipe import Recipe, resolve
from unmel.models.methods.schedule import FLAT
from unmel.models.methods.start.pghi import integrate
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

pytestmark = pytest.mark.loops

ENGINES = {"numba": Engine(backend="numba"), "torch": Engine(backend="torch")}
CPU = torch.device("cpu")


@pytest.fixture(params=["numba", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = LOOPS.wait() if request.param == "numba" else REFERENCE
    assert found is not None
    return found


def voices(config: MelConfig, recipe: Recipe, seconds: tuple[float, ...]) -> list[Item]:
    return [
        item(voice(s, config.sample_rate, seed=k), config, recipe, seed=k)
        for k, s in enumerate(seconds)
    ]


def assert_same_alone_again_and_in_a_pack(items: list[Item], name: str) -> None:
    engine = ENGINES[name]
    for clips in (items, items[::-1], [*items, *items]):
        for clip, result in zip(clips, engine.run(clips), strict=True):
            alone = engine.run([clip])[0].values
            assert result.values.tobytes() == alone.tobytes()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_kind_of_config_has_the_same_bits_alone_again_and_in_a_pack(
    name: str, engine: str
) -> None:
    config = PRESETS[name].config
    items = voices(config, resolve(config.power, n_iter=10), (0.21, 0.9, 0.05, 0.4))
    assert_same_alone_again_and_in_a_pack(items, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [*RECIPES, "pghi"])
def test_every_method_has_too(kind: str, engine: str) -> None:
    config = PRESETS["hifigan-22k"].config
    options = RECIPES.get(kind, {"start": "pghi"})
    recipe = resolve(1, n_iter=6, **options)  # type: ignore[arg-type] # names of options
    assert_same_alone_again_and_in_a_pack(voices(config, recipe, (0.3, 0.17)), engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129])
def test_ends_of_groups_and_blocks_do_not_show(frames: int, engine: str) -> None:
    config = PRESETS["hifigan-22k"].config
    whole = voices(config, resolve(1, n_iter=4), (2.0,))[0]
    one = dataclasses.replace(whole, mel=whole.mel[:frames], samples=config.samples(frames))
    other = dataclasses.replace(whole, mel=whole.mel[:5], samples=config.samples(5))
    assert_same_alone_again_and_in_a_pack([other, one], engine)


@pytest.mark.parametrize("engine", ENGINES)
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
def test_configs_nobody_uses_have_too(change: dict[str, object], engine: str) -> None:
    base = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256, "n_mels": 80, "scale": "ln"}
    config = MelConfig(**{**base, **change})  # type: ignore[arg-type] # names of fields
    items = voices(config, resolve(config.power, n_iter=6), (0.4, 0.11))
    assert_same_alone_again_and_in_a_pack(items, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*IN_ORDER, *OUT_OF_ORDER])
def test_filterbanks_of_ones_own_have_too(name: str, engine: str) -> None:
    config = config_of({**IN_ORDER, **OUT_OF_ORDER}[name])
    items = voices(config, resolve(1, octaves=config.octaves, n_iter=6), (0.4, 0.11))
    assert_same_alone_again_and_in_a_pack(items, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [*RECIPES, *INVERSIONS])
@pytest.mark.parametrize(("name", "power"), [("gammatone", 2), ("sparse", 1)])
def test_every_method_has_too_with_banks_out_of_order(
    name: str, power: int, kind: str, engine: str
) -> None:
    config = config_of(OUT_OF_ORDER[name], power=power)
    recipe = resolve(power, n_iter=5, **RECIPES.get(kind, {"inversion": kind}))  # type: ignore[arg-type]
    items = voices(config, recipe, (0.3, 0.17))
    assert_same_alone_again_and_in_a_pack(items, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_presets_own_filterbank_gives_the_presets_bits(engine: str) -> None:
    config = config_of(MELS)
    recipe = resolve(1, n_iter=6)
    [one] = voices(config, recipe, (0.4,))
    same = dataclasses.replace(one, config=HIFIGAN)
    ours, theirs = (ENGINES[engine].run([clip])[0].values for clip in (one, same))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("output", ["audio", "magnitude", "stft"])
@pytest.mark.parametrize("name", ["pwg-24k", "whisper-80"])
def test_backends_agree_until_rounding_shows(name: str, output: Output) -> None:
    """The float64 twin says so of `consistent`; here with an exponent and a blend of one."""
    config = PRESETS[name].config
    recipe = resolve(config.power, n_iter=3)
    flat = dataclasses.replace(
        recipe, schedule=dataclasses.replace(recipe.schedule, exponent=FLAT, blend=FLAT)
    )
    one = dataclasses.replace(voices(config, flat, (0.3,))[0], output=output)
    ours, theirs = (engine.run([one])[0].values for engine in ENGINES.values())
    assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()


def test_equally_loud_bins_leave_the_heap_in_order_of_place() -> None:
    generator = np.random.default_rng(4)
    level = generator.integers(0, 3, (30, 40)).astype(np.float64)  # many ties
    slopes = generator.standard_normal((2, 30, 40))
    found = []
    for backend in (REFERENCE, LOOPS.wait()):
        assert backend is not None
        phases = np.zeros((30, 40))
        integrate(level, slopes[0], slopes[1], 0.5, phases, backend)
        found.append(phases)
    assert np.array_equal(*found)


@pytest.mark.parametrize("exponent", [0.5, 0.65, 1.3, 1.72])
def test_a_power_is_the_power(exponent: float) -> None:
    values = torch.logspace(-20, 4, 10_000)
    exact = values.double().pow(float(np.float32(exponent)))
    compiled = values.numpy().copy()
    elementwise.raise_eights(compiled, np.float32(exponent))
    ordinary = values > 1e-3  # far below, the logarithm's own rounding counts
    for found in (pow_nonnegative(values, exponent), torch.from_numpy(compiled)):
        assert (found[ordinary] / exact[ordinary] - 1.0).abs().max() < 2e-6
    assert pow_nonnegative(torch.zeros(1), exponent) == 0.0


@pytest.mark.parametrize(
    "pack_bytes", [2**29, 3 * 2**20]
)  # as packs, and in blocks with settled pasts
@pytest.mark.parametrize("name", FAMILIES)
def test_iterations_that_run_together_have_the_bits_of_one_after_the_other(
    name: str, pack_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PRESETS[name].config
    items = voices(config, resolve(config.power, n_iter=5), (0.9, 0.04, 2.3, 0.07))
    found = []
    for most in (1, 2, 4, 7):
        monkeypatch.setattr(iterations, "_MOST", most)
        monkeypatch.setattr(iterations, "_TOGETHER", 2**30)
        engine = Engine(pack_bytes=pack_bytes)
        found.append([result.values.tobytes() for result in engine.run(items)])
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("largest", [3.0, 100.0, 1e4])
def test_a_phase_is_a_direction_to_the_last_digits(backend: Backend, largest: float) -> None:
    generator = np.random.default_rng(1)
    phases = generator.uniform(-largest, largest, (40, 129)).astype(np.float32)
    magnitude = generator.uniform(0.0, 2.0, phases.shape).astype(np.float32)
    expected = magnitude * np.exp(1j * phases.astype(np.float64))
    out = torch.full((40, 120), 7.0 + 0.0j)
    backend.polar(out, torch.from_numpy(magnitude), torch.from_numpy(phases), slice(4, 99))
    assert np.abs(out[:, 4:99].numpy() - expected[:, 4:99]).max() < 5e-7
    assert bool((out[:, :4] == 7.0).all())
    assert bool((out[:, 99:] == 7.0).all())


@pytest.mark.parametrize("name", ["hifigan-22k", "torchaudio", "styletts2-24k"])
@pytest.mark.parametrize("raw", [False, True])
def test_overlap_add_is_the_sum_of_shifted_windows(backend: Backend, name: str, raw: bool) -> None:
    """Against the definition, in float64 and one sample at a time."""
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
    pack = PackedStft(plan, [(frames, samples)], backend)
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
        again = torch.fft.rfft(pack.signal[: config.win_length] * plan.window, n=config.n_fft)
        found = pack.spectrum(slice(0, 3))
        assert torch.allclose(found[0], again, atol=1e-4)
