"""A mel of |X|^p with any p from 0.5 to 2 keeps the promises of magnitudes and powers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.peers import extract
from tests.models.engine.test_engine import mel_error
from tests.signals import voice
from unmel.models.engine import streams
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.memory import row_bytes
from unmel.models.engine.session import Session
from unmel.models.engine.streams import Options
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.statistics import full_scale_level
from unmel.models.mel.validate import check_mel
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import resolve
from unmel.models.signal.plan import build_plan
from unmel.models.signal.targets import clip_target

pytestmark = pytest.mark.loops

POWERS = (0.5, 1.3, 1.7)
ENGINES = {"numba": Engine(backend="numba"), "torch": Engine(backend="torch")}
ENGINE = ENGINES["numba"]
# One inversion with every phase method, every inversion with one phase method.
METHODS: list[dict[str, Any]] = [
    {},
    {"start": "pghi"},
    {"method": "admm_mel"},
    *({"inversion": name} for name in INVERSIONS),
    *({"inversion": "smooth", "phase": name} for name in PHASES if name != "griffin_lim"),
]
NAMES = ["-".join(options.values()) or "default" for options in METHODS]

Wave = NDArray[np.float32]


def config(power: float, name: str = "hifigan-22k", **changes: object) -> MelConfig:
    """A preset's with another power and a linear scale, without an epsilon."""
    plain = {"power": power, "scale": "linear", "magnitude_eps": 0.0, "mean": 0.0, "std": 1.0}
    return MelConfig.model_validate(PRESETS[name].config.model_dump() | plain | changes)


def item(made: MelConfig, wave: Wave, seed: int = 0, **options: Any) -> Item:
    mel = np.ascontiguousarray(analyze(ENGINE.plans.get(made), wave).T)
    recipe = resolve(made.power, octaves=made.octaves, **options)
    return Item(mel, made, recipe, made.samples(len(mel)), seed)


def times(one: Item, factor: float) -> Item:
    return dataclasses.replace(one, mel=(one.mel * np.float32(factor)).astype(np.float32))


def apart(ours: Wave, theirs: Wave) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "torchaudio"])
def test_a_mel_of_audio_is_librosas(name: str, power: float) -> None:
    """Beside its epsilon, floor and scale, as the preset has them."""
    preset = PRESETS[name].config
    made = MelConfig.model_validate(preset.model_dump() | {"power": power})
    wave = voice(0.4, made.sample_rate)
    plan = build_plan(made, torch.device("cpu"), torch.float64)
    np.testing.assert_allclose(
        analyze(plan, wave), extract(made, wave).values, rtol=3e-4, atol=3e-4
    )


@pytest.mark.parametrize("options", METHODS, ids=NAMES)
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_clip_has_the_same_bits_alone_and_in_a_pack_and_silence_is_exact(
    engine: str, power: float, options: dict[str, Any]
) -> None:
    made = config(power)
    items = [
        item(made, voice(s, seed=k), k, n_iter=5, **options) for k, s in enumerate((0.2, 0.11))
    ]
    silent = dataclasses.replace(items[0], mel=np.zeros_like(items[0].mel))
    pack = [items[1], silent, items[0]]
    for one, result in zip(pack, ENGINES[engine].run(pack), strict=True):
        alone = ENGINES[engine].run([one])[0].values
        assert result.values.tobytes() == alone.tobytes()
        assert alone.any() == one.mel.any()


@pytest.mark.parametrize("options", METHODS, ids=NAMES)
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_mel_times_a_power_of_two_gives_audio_times_its_root(
    engine: str, power: float, options: dict[str, Any]
) -> None:
    """To one rounding, however many the iterations: but for the last factor nothing differs."""
    whole = item(config(power), voice(0.3), n_iter=20, **options)
    for k in (-20, -1, 7):
        a, b = (r.values for r in ENGINES[engine].run([whole, times(whole, 2.0**k)]))
        np.testing.assert_allclose(b, a * 2.0 ** (k / power), rtol=3e-7, atol=0.0)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_mel_times_any_number_gives_audio_times_its_root(engine: str, power: float) -> None:
    whole = item(config(power), voice(0.3), n_iter=1)  # before chaos sets in
    for factor in (1e-6, 0.3, 1e4):
        a, b = (r.values for r in ENGINES[engine].run([whole, times(whole, factor)]))
        assert apart(b / np.float32(factor ** (1 / power)), a) < 1e-4


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "coqui-22k"])
def test_silence_at_a_presets_floor_is_exact_silence(name: str, power: float) -> None:
    """By its epsilon, the peak's distance, or the least value that is stored."""
    made = MelConfig.model_validate(PRESETS[name].config.model_dump() | {"power": power})
    silent = np.zeros(made.sample_rate // 4, np.float32)
    for options in ({}, {"method": "admm_mel"}, {"inversion": "pinv"}):
        one = item(made, silent, n_iter=3, **options)
        for engine in ENGINES.values():
            assert not engine.run([one])[0].values.any()


@pytest.mark.parametrize("power", POWERS)
def test_an_epsilon_is_taken_out_of_level_bins_exactly(power: float) -> None:
    made = config(power, magnitude_eps=1e-4)
    plan = build_plan(made, torch.device("cpu"), torch.float64)
    weight = plan.band_weight[: made.n_mels].numpy()
    levels = np.geomspace(0.02, 10.0, 9)  # of the epsilon's size, 0.01, and far above it
    mel = (np.hypot(levels, 1e-2) ** power)[:, None] * weight
    target = clip_target(plan, mel.astype(np.float32))
    found = target.mel[:, : made.n_mels].numpy() * float(target.gain) ** power
    np.testing.assert_allclose(found, levels[:, None] ** power * weight, rtol=1e-5)


@pytest.mark.parametrize("power", POWERS)
def test_the_audio_has_the_mel_of_the_request(power: float) -> None:
    made, wave = config(power), voice(0.8)
    errors = [
        mel_error(made, wave, ENGINE.run([item(made, wave, n_iter=n)])[0].values)
        for n in (2, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.15


@pytest.mark.parametrize("options", [{}, {"method": "admm_mel"}, {"inversion": "smooth"}], ids=str)
@pytest.mark.parametrize("power", POWERS)
def test_a_long_clip_in_blocks_keeps_the_mel_and_its_scaling(
    power: float, options: dict[str, str]
) -> None:
    made, wave = config(power), voice(3.0, seed=3)
    one = item(made, wave, n_iter=24, **options)
    engine = Engine(pack_bytes=130 * row_bytes(made, one.recipe))
    cut, quiet = (engine.run([each])[0].values for each in (one, times(one, 2.0**-9)))
    whole = ENGINE.run([one])[0].values
    assert not np.array_equal(cut, whole)
    assert mel_error(made, wave, cut) < 1.5 * mel_error(made, wave, whole)
    np.testing.assert_allclose(quiet, cut * 2.0 ** (-9 / power), rtol=3e-7, atol=0.0)


def streamed(
    made: MelConfig, mel: Wave, engine: Engine = ENGINE, cuts: tuple[int, ...] = ()
) -> Wave:
    session = Session(made, Options("draft", 4), engine)
    return np.concatenate([*(session.push(p) for p in np.split(mel, cuts)), session.finish()])


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_streams_keep_their_promises(engine: str, power: float) -> None:
    """Of cuts, of scaling, of silence, and of the mel."""
    made, used = config(power), ENGINES[engine]
    wave = np.concatenate([voice(0.4), np.zeros(6000, np.float32)])
    mel = item(made, wave).mel
    out = streamed(made, mel, used)
    assert streamed(made, mel, used, (3, 4, 20)).tobytes() == out.tobytes()
    assert mel_error(made, wave, out) < 0.25
    for k in (-20, -1, 7):
        scaled = streamed(made, mel * np.float32(2.0**k), used)
        np.testing.assert_allclose(
            scaled, out * 2.0 ** (k / power), rtol=1e-5, atol=1e-6 * np.abs(scaled).max()
        )
    assert not streamed(made, np.zeros_like(mel[:20]), used).any()


@pytest.mark.parametrize("power", POWERS)
def test_streams_of_both_backends_are_the_same_but_for_roundings(
    power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(streams.ITERATIONS, "draft", 1)
    made = config(power)
    mel = item(made, voice(0.3)).mel[:9]
    ours, theirs = (streamed(made, mel, engine) for engine in ENGINES.values())
    early = len(theirs) // 2
    assert apart(ours[:early], theirs[:early]) < 2.0**-14


@pytest.mark.parametrize("power", [0.5, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("quiet", [1e-20, 1e-38, 1e-42])
def test_a_stream_that_becomes_as_quiet_as_a_float_can_be_goes_on(
    quiet: float, power: float
) -> None:
    made = config(power)
    mel = item(made, voice(0.2)).mel
    out = streamed(made, np.concatenate([mel, np.full_like(mel, quiet), mel]))
    assert np.isfinite(out).all()
    assert np.abs(out[-3000:]).max() > 0.05


@pytest.mark.parametrize("power", POWERS)
def test_levels_are_checked_in_the_powers_own_units(power: float) -> None:
    made = config(power, scale="ln")
    plan = build_plan(made, torch.device("cpu"))
    loud = np.full(made.sample_rate // 4, 1.0, np.float32)
    assert analyze(plan, loud).max() <= np.log(full_scale_level(made)) + 1e-4
    for level, warned in ((1.0, False), (2.0**15, True)):
        assert (
            bool(check_mel(made, analyze(plan, voice(0.4) * np.float32(level))).warnings) == warned
        )
    with pytest.raises(Invalid, match="full scale"):
        check_mel(made, analyze(plan, voice(0.4) * np.float32(1e7)))


@pytest.mark.parametrize("power", POWERS)
def test_a_linear_level_whose_samples_a_float_cannot_hold_is_refused(power: float) -> None:
    made = config(power)
    mel = np.full((made.n_mels, 6), 1e30 ** min(power, 1.0), np.float32)
    with pytest.raises(Invalid, match="at most"):
        check_mel(made, 1.01 * mel)
    recipe = resolve(power, n_iter=2)
    one = Item(np.ascontiguousarray(0.99 * mel.T), made, recipe, made.samples(6))
    assert np.isfinite(ENGINE.run([one])[0].values).all()
