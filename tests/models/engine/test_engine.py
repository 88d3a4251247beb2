"""Engine.run: packs equal single clips bit for bit, scaling, and every output."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.banks import MELS, config_of
from tests.families import FAMILIES
from tests.signals import tone, voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item, Output
from unmel.models.errors import NonFiniteOutput
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import Recipe, resolve
from unmel.models.signal.plan import build_plan

pytestmark = pytest.mark.loops

ENGINE = Engine()
RECIPES = {
    "consistent": {},
    "pinv": {"inversion": "pinv"},
    "transpose": {"inversion": "transpose"},
    "admm_mel": {"method": "admm_mel"},
    "difference_map": {"phase": "difference_map"},
    "rtisi_la": {"phase": "rtisi_la", "start": "spsi"},
    "lbfgs": {"phase": "lbfgs", "start": "zero"},
}


def item(
    wave: np.ndarray,
    config: MelConfig,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    output: Output = "audio",
) -> Item:
    mel = np.ascontiguousarray(analyze(ENGINE.plans.get(config), wave).T)
    recipe = recipe or resolve(config.power, n_iter=12)
    return Item(mel, config, recipe, config.samples(mel.shape[0]), seed, output)


def mel_error(config: MelConfig, wave: np.ndarray, result: np.ndarray) -> float:
    """Relative distance of the result's linear mel from the original's."""
    given = config.model_dump(exclude_unset=True)
    linear = MelConfig(**{**given, "scale": "linear", "mean": 0.0, "std": 1.0})
    plan = build_plan(linear, torch.device("cpu"), torch.float64)
    a, b = (analyze(plan, x[: len(result)].astype(np.float32)) for x in (wave, result))
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


@pytest.mark.parametrize("name", PRESETS)
def test_a_clip_has_the_same_bits_alone_and_in_any_pack(name: str) -> None:
    config = PRESETS[name].config
    rate = config.sample_rate
    items = [
        item(voice(seconds, rate, seed=k), config, seed=k)
        for k, seconds in enumerate((0.31, 0.9, 0.12, 0.55))
    ]
    alone = [ENGINE.run([one])[0].values for one in items]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 2, 1]):
        together = ENGINE.run([items[k] for k in order])
        for k, result in zip(order, together, strict=True):
            assert np.array_equal(result.values, alone[k]), (name, order, k)


@pytest.mark.parametrize("name", ["whisper-80", "tacotron2-22k", "hifigan-22k", "wide-hop"])
def test_the_longest_length_that_fits_does_not_reach_into_the_next_clip(name: str) -> None:
    config = (
        PRESETS[name].config
        if name in PRESETS
        else PRESETS["hifigan-22k"].config.model_copy(update={"hop_length": 512})
    )
    items = []
    for k in range(3):
        one = item(voice(0.3 + 0.1 * k, config.sample_rate, k), config)
        items.append(dataclasses.replace(one, samples=config.sample_range(one.frames)[1]))
    for one, result in zip(items, ENGINE.run(items), strict=True):
        assert np.array_equal(result.values, ENGINE.run([one])[0].values)


@pytest.mark.parametrize("n_mels", [1, 5, 6, 10, 23])
def test_few_bands_keep_their_bits_in_a_pack_too(n_mels: int) -> None:
    config = MelConfig(sample_rate=16000, n_fft=512, hop_length=128, n_mels=n_mels, scale="ln")
    recipe = resolve(1, n_iter=30)
    items = [item(voice(0.2 + 0.1 * k, 16000, k), config, recipe) for k in range(3)]
    for one, result in zip(items, ENGINE.run(items), strict=True):
        assert np.array_equal(result.values, ENGINE.run([one])[0].values)


@pytest.mark.parametrize("kind", RECIPES)
def test_every_method_is_the_same_alone_in_a_pack_and_again(kind: str) -> None:
    config = PRESETS["whisper-80"].config
    recipe = resolve(2, n_iter=10, **RECIPES[kind])  # type: ignore[arg-type] # names of options
    items = [item(voice(0.2 + 0.1 * k, 16000, k), config, recipe, seed=7) for k in range(3)]
    together = ENGINE.run(items)
    for one, result in zip(items, together, strict=True):
        assert np.array_equal(ENGINE.run([one])[0].values, result.values)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("factor", [2.0**-22, 2.0**13])
def test_a_filterbank_of_another_level_gives_the_same_audio(factor: float, power: int) -> None:
    """Powers of two alter no digit; a mel of powers has the square root of one between two."""
    one, other = (
        config_of(bank, scale="linear", power=power, magnitude_eps=0.0)
        for bank in (MELS, MELS * factor)
    )
    recipe = resolve(power, n_iter=2)
    a, b = (ENGINE.run([item(voice(0.4), config, recipe)])[0].values for config in (one, other))
    assert np.linalg.norm(a - b) < 1e-3 * np.linalg.norm(a)


def test_the_seed_changes_the_audio_and_nothing_else_does() -> None:
    config = PRESETS["hifigan-22k"].config
    a, b = (item(voice(0.4), config, seed=seed) for seed in (0, 1))
    first, second, again = ENGINE.run([a, b, a])
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("consistent", name) for name in PRESETS),
        *((kind, name) for kind in RECIPES for name in ("tacotron2-22k", "whisper-80")),
    ],
)
def test_silence_in_gives_exact_silence_out(kind: str, name: str) -> None:
    config = PRESETS[name].config
    recipe = resolve(config.power, n_iter=4, **RECIPES[kind])  # type: ignore[arg-type] # as above
    silent = item(np.zeros(config.sample_rate // 3, np.float32), config, recipe)
    assert not ENGINE.run([silent])[0].values.any()


@pytest.mark.parametrize("name", ["librosa", "torchaudio"])
@pytest.mark.parametrize("factor", [1e-3, 2.0**-20, 1e3])
def test_a_linear_mel_scaled_gives_audio_scaled_alike(name: str, factor: float) -> None:
    config = PRESETS[name].config
    wave = voice(0.5, config.sample_rate)
    whole = item(wave, config, resolve(config.power, n_iter=1))  # before chaos sets in
    scaled = Item(
        (whole.mel * factor).astype(np.float32), config, whole.recipe, whole.samples, whole.seed
    )
    a, b = (r.values for r in ENGINE.run([whole, scaled]))
    share = factor ** (1 / config.power)
    # Rounding differs, and four iterations spread it a little: 80 dB of agreement.
    assert np.linalg.norm(b - a * share) < 1e-4 * np.linalg.norm(a * share)


@pytest.mark.parametrize(
    ("name", "frames"),
    [*((name, 1) for name in PRESETS), *((name, n) for name in FAMILIES for n in (2, 3))],
)
def test_very_short_mels_answer_with_their_length(name: str, frames: int) -> None:
    config = PRESETS[name].config
    mel = np.ascontiguousarray(
        analyze(ENGINE.plans.get(config), voice(0.4, config.sample_rate)).T[4 : 4 + frames]
    )
    samples = config.samples(frames)
    [result] = ENGINE.run([Item(mel, config, resolve(config.power, n_iter=4), samples)])
    assert result.values.shape == (samples,)
    assert np.isfinite(result.values).all()
    assert result.values.any()


@pytest.mark.parametrize("name", ["hifigan-22k", "tacotron2-22k", "whisper-80", "librosa"])
def test_a_tone_comes_back_at_its_pitch_and_level(name: str) -> None:
    config = PRESETS[name].config
    wave = tone(440.0, 0.6, config.sample_rate)
    [result] = ENGINE.run([item(wave, config, resolve(config.power, n_iter=60))])
    middle = result.values[len(result.values) // 4 : -len(result.values) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 16))
    peak = spectrum.argmax() * config.sample_rate / (1 << 16)
    assert abs(peak - 440) < 15  # a mel band there is 30 Hz wide or more
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.15)


@pytest.mark.parametrize("name", PRESETS)
def test_the_audio_has_the_mel_of_the_request(name: str) -> None:
    config = PRESETS[name].config
    wave = voice(0.8, config.sample_rate)
    [result] = ENGINE.run([item(wave, config, resolve(config.power, quality="draft"))])
    assert mel_error(config, wave, result.values) < 0.15


def test_more_iterations_come_closer_to_the_mel() -> None:
    config = PRESETS["hifigan-22k"].config
    wave = voice(0.8)
    errors = [
        mel_error(config, wave, ENGINE.run([item(wave, config, resolve(1, n_iter=n))])[0].values)
        for n in (4, 16, 64)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_the_joint_method_beats_both_two_stage_ones_at_the_mel() -> None:
    config = PRESETS["hifigan-22k"].config
    wave = voice(0.8)
    error = {
        kind: mel_error(
            config,
            wave,
            ENGINE.run([item(wave, config, resolve(1, n_iter=32, **options))])[0].values,  # type: ignore[arg-type] # names of options
        )
        for kind, options in RECIPES.items()
    }
    assert error["consistent"] < 0.75 * min(error["pinv"], error["transpose"])


def test_float64_agrees_with_float32_before_chaos_sets_in() -> None:
    config = PRESETS["hifigan-22k"].config
    one = item(voice(0.4), config, resolve(1, n_iter=3))
    [exact] = Engine(dtype=torch.float64).run([one])
    [ours] = ENGINE.run([one])
    assert np.abs(exact.values - ours.values).max() < 1e-4


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("name", ["pwg-24k", "whisper-80"])
def test_magnitude_and_stft_agree_with_the_audio(name: str, kind: str) -> None:
    config = PRESETS[name].config
    recipe = resolve(config.power, n_iter=6, **RECIPES[kind])  # type: ignore[arg-type] # as above
    wave = voice(0.4, config.sample_rate)
    audio, magnitude, stft = ENGINE.run(
        [item(wave, config, recipe, output=o) for o in ("audio", "magnitude", "stft")]
    )
    frames = config.frames(len(wave))
    assert magnitude.values.shape == stft.values.shape == (config.n_bins, frames)
    assert (magnitude.values >= 0).all()
    if config.padding == "center_reflect":
        theirs = torch.stft(
            torch.from_numpy(audio.values),
            config.n_fft,
            config.hop_length,
            config.win_length,
            torch.hann_window(config.win_length),
            return_complex=True,
        )[:, :frames].numpy()
        np.testing.assert_allclose(stft.values, theirs, atol=1e-4)
    if kind == "consistent":
        np.testing.assert_allclose(magnitude.values, np.abs(stft.values), rtol=1e-5, atol=1e-7)


def test_a_mixed_call_is_grouped_by_what_can_share_a_pack_and_kept_in_order() -> None:
    names = ["hifigan-22k", "whisper-80", "hifigan-22k"]
    items = [
        item(voice(0.3, PRESETS[n].config.sample_rate, k), PRESETS[n].config)
        for k, n in enumerate(names)
    ]
    for one, result in zip(items, ENGINE.run(items), strict=True):
        assert np.array_equal(result.values, ENGINE.run([one])[0].values)
    assert ENGINE.run([]) == []


def test_empty_bands_are_left_out_and_reported() -> None:
    config = PRESETS["torchaudio"].config
    [result] = ENGINE.run([item(voice(0.3, 16000), config)])
    assert result.warnings == (
        "4 of the mel bands hold no bin of the transform and were left out: 0, 3, 6, 13",
    )


def test_far_more_bands_than_bins_still_gives_finite_audio() -> None:
    config = MelConfig(sample_rate=16000, n_fft=128, hop_length=32, n_mels=300, scale="ln")
    [result] = ENGINE.run([item(voice(0.3, 16000), config)])
    assert result.values.any()


def test_values_below_the_floor_are_silence_and_not_a_target() -> None:
    """A value at the floor says "at most this": no hiss is made up to meet it."""
    config = PRESETS["hifigan-22k"].config
    wave = voice(0.6)
    wave[6000:10000] = 0.0
    one = item(wave, config, resolve(1, n_iter=30))
    [result] = ENGINE.run([one])
    quiet = result.values[7500:8500]
    assert np.abs(quiet).max() < 3e-5  # one step of 16 bits


def test_an_output_that_is_not_finite_is_an_error_and_never_audio() -> None:
    config = PRESETS["hifigan-22k"].config
    mel = np.full((20, 80), np.nan, np.float32)  # what check_mel keeps away from here
    with pytest.raises(NonFiniteOutput):
        ENGINE.run([Item(mel, config, resolve(1, n_iter=2), config.samples(20))])


def test_a_call_leaves_the_callers_floating_point_mode_as_it_was() -> None:
    config = PRESETS["hifigan-22k"].config
    ENGINE.run([item(voice(0.2), config)])
    assert float(torch.tensor(1e-40) * 1.0) != 0.0


def test_cost_is_in_proportion_to_rows_and_counts_what_is_asked_for_alone() -> None:
    config = PRESETS["hifigan-22k"].config
    recipe = resolve(1, inversion="nnls", n_iter=9)
    short, long = (
        Item(np.zeros((frames, 80), np.float32), config, recipe, 256 * frames)
        for frames in (97, 197)
    )
    assert long.cost == 2 * short.cost
    assert short.cost == 100 * recipe.points(config)
    alone = dataclasses.replace(short, output="magnitude")
    assert alone.cost == 100 * recipe.points(config, magnitude_only=True) < short.cost
