"""Mel to magnitude: each method against its original, and the promises of all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import scipy.optimize
import torch
from numpy.typing import NDArray

from benchmarks.peers import librosa_magnitude, load_torchaudio, torchaudio_magnitude
from benchmarks.twins import inversions
from tests.signals import voice
from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import Plan, build_plan

pytestmark = pytest.mark.loops

CPU = torch.device("cpu")
Array = NDArray[np.float64]
# Magnitudes, Slaney's filters; powers with empty and doubled bands; a barely fed first band.
NAMES = ["hifigan-22k", "torchaudio", "whisper-80"]
KINDS = [*NAMES, "vocos-24k", "bigvgan-44k-256", "styletts2-24k", "librosa"]
CONFIGS = {name: row.config for name, row in PRESETS.items()} | {
    f"{name}-at-{power}": MelConfig.model_validate(
        PRESETS[name].config.model_dump() | {"power": power}
    )
    for name, power in (("hifigan-22k", 0.5), ("torchaudio", 1.3), ("whisper-80", 1.7))
}
POWERS = [name for name in CONFIGS if name not in PRESETS]


@pytest.fixture(autouse=True, scope="module")
def _engine_thread_settings() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@cache
def plan_of(name: str, dtype: torch.dtype = torch.float32) -> Plan:
    return build_plan(CONFIGS[name], CPU, dtype)


def spectra(name: str, seconds: float = 0.7, seed: int = 0) -> Array:
    """Spectra `[T, N]` of the config's power, whose mel peaks near 1."""
    config = CONFIGS[name]
    wave = voice(seconds, config.sample_rate, seed)
    frames = np.lib.stride_tricks.sliding_window_view(wave, config.win_length)
    windowed = frames[:: config.hop_length] * config.window_values()
    values = np.abs(np.fft.rfft(windowed, config.n_fft)) ** config.power
    return np.asarray(values / (values @ filterbank(config).T).max())


def mels(name: str, seconds: float = 0.7, seed: int = 0, noise: float = 0.0) -> Array:
    """Linear mels `[T, K]`, with `noise` such that no spectrum has them."""
    mel = spectra(name, seconds, seed) @ filterbank(CONFIGS[name]).T
    rng = np.random.default_rng(seed)
    return np.asarray(mel * np.exp(noise * rng.standard_normal(mel.shape)))


def invert(
    method: str,
    plan: Plan,
    *parts: Array,
    **params: float,
) -> list[Array]:
    """The magnitudes `[T, N]` of a pack of mels, as the engine asks for them."""
    config = plan.config
    pack = PackedStft(plan, [(len(mel), config.samples(len(mel))) for mel in parts])
    # The plan's bands are rounded up with empty ones.
    wide = [np.pad(part, ((0, 0), (0, plan.bank.shape[1] - part.shape[1]))) for part in parts]
    mel = pack.spread_rows([torch.tensor(part, dtype=plan.dtype) for part in wide])
    row = INVERSIONS[method]
    with torch.inference_mode():
        out = row.run(pack, mel, **dict(row.resolve(params, "params")))
    assert out.dtype == plan.dtype
    return [
        out[start : start + len(part)].numpy()
        for part, start in zip(parts, pack.starts, strict=True)
    ]


def loss(name: str, mel: Array, magnitude: Array) -> Array:
    """Squared error of the mel as a share of its energy, by frame `[T]`."""
    config = CONFIGS[name]
    bank = filterbank(config)
    alive = bank.sum(axis=1) > 0
    reached = magnitude.astype(np.float64) ** config.power @ bank.T
    energy = np.maximum((mel[:, alive] ** 2).sum(axis=1), 1e-300)
    return np.asarray(((reached - mel)[:, alive] ** 2).sum(axis=1) / energy)


# --- promises of every method -----------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, *POWERS])
@pytest.mark.parametrize("method", INVERSIONS)
def test_a_clip_has_the_same_bits_alone_and_in_any_pack(method: str, name: str) -> None:
    """The packs mix frames that end at different steps and frames that run to the last."""
    plan = plan_of(name)
    iterates = any(parameter.name == "n_iter" for parameter in INVERSIONS[method].parameters)
    params = {"n_iter": 45} if iterates else {}
    parts = [mels(name, 0.1 + 0.13 * k, k, noise=0.2 * k) * 10.0**-k for k in range(4)]
    alone = [invert(method, plan, part, **params)[0] for part in parts]
    for order in ([3, 1, 0, 2], [2, 2, 1]):
        together = invert(method, plan, *(parts[k] for k in order), **params)
        for k, result in zip(order, together, strict=True):
            assert np.array_equal(result, alone[k]), (order, k)


@pytest.mark.parametrize("name", [*NAMES, *POWERS])
@pytest.mark.parametrize("method", INVERSIONS)
def test_magnitudes_are_finite_and_never_negative_and_zero_where_no_band_is(
    method: str, name: str
) -> None:
    plan = plan_of(name)
    uncovered = filterbank(plan.config).sum(axis=0) == 0
    mel = mels(name, noise=0.5)
    mel[3] = 0.0
    mel[4, ::2] = 0.0
    mel[5] *= 1e-12
    mel[6, :] = 0.0
    mel[6, 40] = 1.0  # only a negative spectrum has this mel
    mel[:, list(plan.empty)] = 0.7  # the value of an empty band is ignored
    [result] = invert(method, plan, mel)
    assert np.isfinite(result).all()
    assert (result >= 0).all()
    assert not result[:, uncovered].any()
    assert not result[3].astype(bool)[~plan.bank.numpy()[:, list(plan.empty)].any(axis=1)].any()
    assert result[6].max() < 1e3 ** max(1.0, 1.0 / plan.config.power)


@pytest.mark.parametrize("method", INVERSIONS)
def test_values_of_empty_bands_are_ignored(method: str) -> None:
    plan = plan_of("torchaudio")
    assert plan.empty
    mel = mels("torchaudio", 0.3)
    other = mel.copy()
    other[:, list(plan.empty)] = 3.0
    [a], [b] = invert(method, plan, mel), invert(method, plan, other)
    assert np.array_equal(a, b)


@pytest.mark.parametrize("name", [*NAMES, *POWERS])
@pytest.mark.parametrize("method", INVERSIONS)
def test_zero_in_gives_exact_zero_out(method: str, name: str) -> None:
    plan = plan_of(name)
    [result] = invert(method, plan, np.zeros((70, plan.config.n_mels)))
    assert not result.any()


@pytest.mark.parametrize("name", ["hifigan-22k", "torchaudio"])
@pytest.mark.parametrize("method", INVERSIONS)
def test_a_louder_mel_gives_the_same_magnitude_louder(method: str, name: str) -> None:
    """Exactly so for powers of four, whose roots are exact too."""
    plan = plan_of(name)
    mel = mels(name, 0.3, noise=0.1)
    [whole], [quiet] = invert(method, plan, mel), invert(method, plan, mel * 2.0**-20)
    assert np.array_equal(quiet, whole * 2.0 ** (-20 // plan.config.power))


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("method", INVERSIONS)
def test_it_does_so_to_the_last_digits_at_any_power(method: str, name: str) -> None:
    plan = plan_of(name)
    mel = mels(name, 0.3, noise=0.1)
    [whole], [quiet] = invert(method, plan, mel), invert(method, plan, mel * 2.0**-10)
    np.testing.assert_allclose(quiet, whole * 2.0 ** (-10 / plan.config.power), rtol=1e-6)


@pytest.mark.parametrize("method", INVERSIONS)
def test_float64_runs_and_agrees_with_float32(method: str) -> None:
    name = "hifigan-22k"
    mel = mels(name, 0.3)
    [single] = invert(method, plan_of(name), mel)
    [double] = invert(method, plan_of(name, torch.float64), mel)
    # An iteration ends on a look at an error that rounding moves: a few looks more or less.
    assert np.linalg.norm(single - double) < 0.02 * np.linalg.norm(double)


@pytest.mark.parametrize("name", [*KINDS, *POWERS])
def test_iterative_inversions_reach_the_mel_in_every_kind_of_preset(name: str) -> None:
    mel = mels(name, 0.25)
    loud = mel.max(axis=1) > 1e-6 * mel.max()
    for method, bound in {"smooth": 3e-3, "gradient": 3e-4, "lbfgs": 1e-4, "nnls": 1e-6}.items():
        [result] = invert(method, plan_of(name), mel)
        assert loss(name, mel, result)[loud].mean() < bound, method


# --- each against its original --------------------------------------------------------------


def without_empty_bands(name: str, mel: Array) -> tuple[Array, Array]:
    """The filterbank `[K, N]` and mel `[K, T]` without the empty bands."""
    bank = filterbank(CONFIGS[name])
    alive = bank.sum(axis=1) > 0
    return bank[alive], mel[:, alive].T


@pytest.mark.parametrize(
    ("method", "twin", "params"),
    [
        ("transpose", inversions.transpose, {}),
        ("pinv", inversions.pinv, {}),
        ("smooth", lambda bank, mel: inversions.smooth(bank, mel, 4), {"n_iter": 4}),
        (
            "gradient",
            lambda bank, mel: inversions.relative_descent(bank, mel, 60),
            {"n_iter": 60, "tolerance_loss": 0.0, "tolerance_change": 0.0},
        ),
    ],
)
@pytest.mark.parametrize("name", ["hifigan-22k", "librosa", "torchaudio", *POWERS[:2]])
def test_a_method_is_its_formula_in_plain_numpy(
    name: str, method: str, twin: Callable[[Array, Array], Array], params: dict[str, float]
) -> None:
    mel = mels(name, 0.3)
    [ours] = invert(method, plan_of(name, torch.float64), mel, **params)
    theirs = twin(*without_empty_bands(name, mel))
    power = CONFIGS[name].power
    np.testing.assert_allclose(ours.T**power, theirs, atol=1e-9 * theirs.max())


@pytest.mark.parametrize("name", ["hifigan-22k", "librosa", "torchaudio", "bigvgan-44k-256"])
def test_lstsq_is_relu_of_numpys_least_squares(name: str) -> None:
    config = CONFIGS[name]
    mel = mels(name, 0.3, noise=0.1)
    bank, alive = without_empty_bands(name, mel)
    solution = np.linalg.lstsq(bank, alive, rcond=1e-10)[0].T
    [result] = invert("lstsq", plan_of(name, torch.float64), mel)
    np.testing.assert_allclose(result**config.power, np.maximum(solution, 0.0), atol=1e-9)


def test_lstsq_is_what_torch_gives_torchaudio_where_its_bands_are_independent() -> None:
    mel = mels("hifigan-22k", 0.3)
    theirs = inversions.lstsq(*without_empty_bands("hifigan-22k", mel))
    [result] = invert("lstsq", plan_of("hifigan-22k", torch.float64), mel)
    np.testing.assert_allclose(result.T, theirs, atol=1e-10)


@pytest.mark.skipif(load_torchaudio() is None, reason="torchaudio's wheel does not load here")
@pytest.mark.parametrize("name", ["hifigan-22k", "speecht5-16k", "librosa"])
def test_lstsq_is_torchaudios_inverse_mel_scale(name: str) -> None:
    config = CONFIGS[name]
    mel = mels(name, 0.3)
    theirs = torchaudio_magnitude(config, mel.T)
    [ours] = invert("lstsq", plan_of(name), mel)
    assert np.linalg.norm(ours.T - theirs) < 2e-3 * np.linalg.norm(theirs)


@pytest.mark.parametrize(("noise", "peak"), [(0.0, 1.0), (0.3, 1000.0)])
@pytest.mark.parametrize("name", NAMES)
def test_nnls_and_lbfgs_come_closer_than_librosa(name: str, noise: float, peak: float) -> None:
    """Its tolerances are absolute: at a peak of 1000 they matter little, at 1 they end at once."""
    mel = mels(name, 0.12, noise=noise) * peak
    theirs = librosa_magnitude(CONFIGS[name], mel.T).T
    energy = (mel**2).sum(axis=1)
    for method in ("nnls", "lbfgs"):
        [ours] = invert(method, plan_of(name), mel)
        total = (loss(name, mel, ours) * energy).sum()
        # A residual of single rounding errors on top, where theirs is as small.
        assert total <= (loss(name, mel, theirs) * energy).sum() + 1e-8 * energy.sum(), method


def test_librosas_nnls_stops_at_the_clipped_pseudo_inverse_in_a_mel_of_usual_level() -> None:
    mel = mels("hifigan-22k", 0.12)
    theirs = inversions.librosas_nnls(*without_empty_bands("hifigan-22k", mel))
    [ours] = invert("pinv", plan_of("hifigan-22k"), mel)
    assert np.linalg.norm(ours.T - theirs) < 1e-5 * np.linalg.norm(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_librosas_nnls_pushed_to_its_end_meets_ours_and_comes_no_lower(
    name: str, noise: float
) -> None:
    mel = mels(name, 0.12, noise=noise)
    bank, alive = without_empty_bands(name, mel)
    energy = (mel**2).sum()
    pushed = inversions.converged_nnls(bank, alive)
    lowest = ((bank @ pushed - alive) ** 2).sum() / energy
    [ours] = invert("nnls", plan_of(name, torch.float64), mel, n_iter=2000, tolerance=0.0)
    reached = (loss(name, mel, ours) * (mel**2).sum(axis=1)).sum() / energy
    # Its line search ends within a hundred thousandth of the minimum.
    assert lowest - 1e-5 <= reached <= lowest + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_nnls_reaches_the_least_that_scipy_finds_on_single_frames(name: str) -> None:
    bank = filterbank(CONFIGS[name])
    mel = mels(name, 0.3, noise=0.3)
    [ours] = invert("nnls", plan_of(name, torch.float64), mel, n_iter=2000, tolerance=1e-12)
    found = loss(name, mel, ours)
    alive = bank.sum(axis=1) > 0
    for t in range(2, len(mel), 7):
        least = scipy.optimize.nnls(bank[alive], mel[t, alive])[1] ** 2
        assert found[t] <= least / (mel[t] ** 2).sum() + 1e-6


def test_gradient_equals_torchaudios_former_inverse_mel_scale() -> None:
    """Equal after each step from the same start, in units in which a bin's step is 1."""
    name = "torchaudio"
    plan = plan_of(name, torch.float64)
    mel = mels(name, 0.3)
    for t, steps in itertools.product((1, 7), (1, 2, 25)):
        theirs = inversions.relative_descent(*without_empty_bands(name, mel[[t]]), steps)
        [ours] = invert(
            "gradient", plan, mel[[t]], n_iter=steps, tolerance_loss=0.0, tolerance_change=0.0
        )
        np.testing.assert_allclose(ours.T**2, theirs, atol=1e-9 * theirs.max())


def test_gradient_ends_on_quiet_input_with_a_result_in_proportion() -> None:
    """The original's absolute tolerance leaves its random start on such input."""
    plan = plan_of("torchaudio")
    mel = mels("torchaudio", 0.4)
    [loud], [quiet] = invert("gradient", plan, mel), invert("gradient", plan, mel * 1e-6)
    assert loss("torchaudio", mel * 1e-6, quiet)[1:-1].max() < 1e-4
    np.testing.assert_allclose(quiet * 1e3, loud, atol=1e-2 * loud.max())
