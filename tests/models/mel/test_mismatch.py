"""A mel of another scale is told so, and a mel of its own scale never is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.signals import music, speech, tone
from unmel.models.engine.analysis import analyze
from unmel.models.errors import Invalid
from unmel.models.mel.blur import BLURRED
from unmel.models.mel.config import MelConfig
from unmel.models.mel.mismatch import scale_warning, value_warnings
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.scale import LinearScale
from unmel.models.mel.validate import check_mel
from unmel.models.signal.plan import Plan, build_plan

Values = NDArray[np.float32]
CPU = torch.device("cpu")
HIFIGAN = PRESETS["hifigan-22k"].config
# One preset of every reading and geometry: the others differ from these in name alone.
DISTINCT = {
    row.config.model_copy(update={"padding": "center_reflect", "fmax": 1.0}): name
    for name, row in reversed(PRESETS.items())
}.values()


def reverberant(wave: Values, rate: int) -> Values:
    """Speech in a room."""
    rng = np.random.default_rng(5)
    tail = rng.standard_normal(rate // 2) * np.exp(-np.arange(rate // 2) / (0.08 * rate))
    tail[0] = 3.0
    count = len(wave) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(wave, count) * np.fft.rfft(tail, count), count)[: len(wave)]
    return (0.5 * wet / np.abs(wet).max()).astype(np.float32)


def noisy(wave: Values, level: float) -> Values:
    """Speech in steady noise, `level` being the noise's share of the speech's."""
    noise = np.random.default_rng(3).standard_normal(len(wave)).astype(np.float32)
    return 0.5 * (wave + level * float(wave.std()) * noise)


def whisper(rate: int) -> Values:
    """Noise with the envelope of speech."""
    wave = speech(2.0, rate)
    envelope = np.sqrt(np.convolve(wave**2, np.hanning(rate // 50), "same"))
    noise = np.random.default_rng(4).standard_normal(len(wave))
    return (envelope * noise * 0.1).astype(np.float32)


MATERIALS: dict[str, Callable[[int], Values]] = {
    "speech": lambda rate: speech(2.0, rate),
    "one second of speech": lambda rate: speech(1.0, rate, 1),
    "quiet speech": lambda rate: 0.01 * speech(2.0, rate),
    "loud speech": lambda rate: 4.0 * speech(2.0, rate),
    "speech in a room": lambda rate: reverberant(speech(2.0, rate), rate),
    "speech in some noise": lambda rate: noisy(speech(2.0, rate), 0.1),
    "speech in loud noise": lambda rate: noisy(speech(2.0, rate), 1.0),
    "whisper": whisper,
    "music": lambda rate: music(2.0, rate),
    "quiet music": lambda rate: 0.02 * music(2.0, rate),
    "noise": lambda rate: noisy(np.full(2 * rate, 1e-9, np.float32), 0) + noise_of(rate, 0.1),
    "faint noise": lambda rate: noise_of(rate, 1e-4),
    "dither": lambda rate: np.rint(noise_of(rate, 0.6)) / 32768,
    "silence": lambda rate: np.zeros(2 * rate, np.float32),
    "sine": lambda rate: tone(440.0, 2.0, rate),
    "siren": lambda rate: np.sin(
        2 * np.pi * 800 * np.arange(2 * rate) / rate
        + 300 * np.sin(np.pi * 1.4 * np.arange(2 * rate) / rate)
    ).astype(np.float32),
    "a tenth of a second": lambda rate: speech(0.1, rate),
    "one frame": lambda rate: speech(0.02, rate),
}


def noise_of(rate: int, level: float) -> Values:
    return (level * np.random.default_rng(6).standard_normal(2 * rate)).astype(np.float32)


@pytest.fixture(scope="module")
def plans() -> Callable[[MelConfig], Plan]:
    made: dict[MelConfig, Plan] = {}
    return lambda config: made.setdefault(config, build_plan(config, CPU))


@pytest.mark.parametrize("name", DISTINCT)
def test_no_recording_is_warned_about_in_its_own_extractor(
    name: str, plans: Callable[[MelConfig], Plan]
) -> None:
    """Extractor by material, also rounded to 16-bit floats; of blur, as a network's, it is told."""
    config = PRESETS[name].config
    for material, make in MATERIALS.items():
        wave = make(config.sample_rate)
        if config.frames(len(wave)) < 1:
            continue
        values = analyze(plans(config), wave).T
        assert value_warnings(config, values) == (), material
        if not isinstance(config.scale, LinearScale):  # of which the quiet ones have no digits left
            rounded = values.astype(np.float16).astype(np.float32)
            assert value_warnings(config, rounded) == (), material
        if not isinstance(config.scale, LinearScale):
            blurred = (values[:-2] + 2 * values[1:-1] + values[2:]) / 4
            if material == "speech":
                assert scale_warning(config, blurred) is None
            elif material == "speech in some noise":
                assert value_warnings(config, blurred)[-1].startswith(BLURRED)


def magnitudes(plans: Callable[[MelConfig], Plan], power: float, gain: float = 1.0) -> Values:
    """Linear mel of two seconds of speech in HiFi-GAN's geometry, `[T, K]`."""
    config = HIFIGAN.model_copy(update={"power": power, "scale": LinearScale()})
    return analyze(plans(config), gain * speech(2.0, HIFIGAN.sample_rate)).T


def stored(plans: Callable[[MelConfig], Plan], kind: str) -> Values:
    """Two seconds of speech in one of the scales that people send."""
    one, two = magnitudes(plans, 1.0), magnitudes(plans, 2.0)
    ln = np.log(np.maximum(one, 1e-5))
    unit = (ln - ln.min()) / np.ptp(ln)
    decibels = 20 * np.log10(np.maximum(one, 1e-5))
    return {
        "ln": ln,
        "log10": np.log10(np.maximum(one, 1e-10)),
        "ln of powers": np.log(np.maximum(two, 1e-5)),
        "matcha": (ln + 5.536622) / 2.116101,
        "z-scores of bands": (ln - ln.mean(0)) / ln.std(0),
        "z-scores": (ln - ln.mean()) / ln.std(),
        "0 to 1": unit,
        "-1 to 1": 2 * unit - 1,
        "-4 to 4": np.clip(8 * (decibels + 80) / 100 - 4, -4, 4),
        "dB": decibels,
        "exp forgotten": one,
        "powers": two,
        "8 bits": np.rint(255 * unit),
        "whisper": (np.log10(np.maximum(two, 1e-10)) + 4) / 4,
    }[kind].astype(np.float32)


@pytest.mark.parametrize(
    ("sent", "kind", "option"),
    [
        ("hifigan-22k", "log10", "config=pwg-22k"),
        ("hifigan-22k", "ln of powers", "scale=ln with power=2"),
        ("hifigan-22k", "matcha", "config=matcha-22k"),
        ("hifigan-22k", "z-scores of bands", "mean is 0"),
        ("hifigan-22k", "z-scores", "mean is 0"),
        ("hifigan-22k", "0 to 1", "normalised"),
        ("hifigan-22k", "-1 to 1", "do not look like"),
        ("hifigan-22k", "-4 to 4", "config=coqui-22k"),
        ("hifigan-22k", "exp forgotten", "scale=linear"),
        ("hifigan-22k", "powers", "linear"),
        ("hifigan-22k", "8 bits", "full scale"),
        ("hifigan-22k", "dB", "not of the scale"),
        ("hifigan-22k", "whisper", "config=whisper-80"),
        ("matcha-22k", "0 to 1", "do not look like"),
        ("matcha-22k", "ln", "not of the scale"),
        ("pwg-22k", "ln", "config=tacotron2-22k"),
        ("pwg-22k", "matcha", "config=matcha-22k"),
        ("pwg-22k", "z-scores", "mean is 0"),
        ("pwg-22k", "-4 to 4", "config=coqui-22k"),
        ("coqui-22k", "ln", "do not look like"),
        ("coqui-22k", "0 to 1", "do not look like"),
        ("whisper-80", "matcha", "matcha"),
        ("whisper-80", "-4 to 4", "coqui-22k"),
        ("linear", "0 to 1", "normalised"),
        ("linear", "8 bits", "8 bits"),
        ("linear, power 2", "exp forgotten", "scale=linear with power=1"),
    ],
)
def test_speech_of_another_scale_is_told_so_with_the_right_option(
    sent: str, kind: str, option: str, plans: Callable[[MelConfig], Plan]
) -> None:
    """By a warning, or where no audio has such values by the refusal's own words."""
    linear = {"scale": LinearScale(), "magnitude_eps": 0.0}
    configs = {
        "linear": HIFIGAN.model_copy(update=linear),
        "linear, power 2": HIFIGAN.model_copy(update=linear | {"power": 2.0}),
    }
    config = configs.get(sent) or PRESETS[sent].config
    assert option in told(config, stored(plans, kind))


def told(config: MelConfig, values: Values) -> str:
    """What a client is told of values, refused or not."""
    try:
        return " ".join(value_warnings(config, check_mel(config, values, "frames_first").values))
    except Invalid as error:
        return str(error)


def test_a_power_is_told_from_a_magnitude_however_quiet_the_speech(
    plans: Callable[[MelConfig], Plan],
) -> None:
    for gain in (2.0, 0.3, 0.05):
        values = np.log(np.maximum(magnitudes(plans, 2.0, gain), 1e-10))
        assert scale_warning(HIFIGAN, values.astype(np.float32)) is not None


def test_the_sentence_says_the_values_the_likeness_and_the_option(
    plans: Callable[[MelConfig], Plan],
) -> None:
    warning = scale_warning(HIFIGAN, stored(plans, "matcha"))
    assert warning is not None
    assert warning.startswith("values from -2.")
    assert "do not look like hifigan-22k" in warning
    assert "they look like config=matcha-22k" in warning


def test_padding_that_is_louder_than_the_speech_is_told_so(
    plans: Callable[[MelConfig], Plan],
) -> None:
    values = stored(plans, "ln")
    padded = np.concatenate([values, np.zeros((40, 80), np.float32)])
    [warning] = value_warnings(HIFIGAN, padded)
    assert "the last 40 frames are 0 in every band" in warning
    [warning] = value_warnings(HIFIGAN, padded[::-1].copy())
    assert "the first 40 frames are 0" in warning
    silent = np.concatenate([values, np.full((40, 80), -11.5129, np.float32)])
    assert value_warnings(HIFIGAN, silent) == ()
