"""The default method does what docs/method.md says: the engine's samples beside a slow twin's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.peers import extract
from benchmarks.twins import consistent as twin
from benchmarks.twins.starts import directions
from tests.banks import OUT_OF_ORDER, config_of
from tests.signals import voice
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve
from unmel.models.methods.schedule import NONE, Ramp, Schedule

pytestmark = pytest.mark.loops

Real = NDArray[np.float64]

# Distances in roundings of float32, 2^-24. Float64 is rounded once, when its samples go out: two
# are allowed. Float32 is rounded in every step of twelve iterations: 256 are, and these clips show
# 80 at most. More iterations, or more bands of one bin that cancel, would show more.
ROUNDED, TOLERANCE = 2.0**-23, 2.0**-16
ENGINES = {
    "torch in float64": (Engine(dtype=torch.float64, backend="torch"), ROUNDED),
    "torch": (Engine(backend="torch"), TOLERANCE),
    "compiled loops": (Engine(), TOLERANCE),
}
# Of five stages, the lowest octave's first, 5, 3, 2, 1 and 1 iterations.
FEW = 2
HIFIGAN = PRESETS["hifigan-22k"].config


def altered(name: str = "hifigan-22k", **changes: object) -> MelConfig:
    return MelConfig.model_validate(PRESETS[name].config.model_dump() | changes)


CONFIGS = {
    # Magnitudes. Epsilons and HiFi-GAN's padding; a window shorter than the transform, and three
    # stages; a hop that does not divide the window; zeros beyond the edges.
    **{name: PRESETS[name].config for name in ("hifigan-22k", "vits-22k", "pwg-24k")},
    **{name: PRESETS[name].config for name in ("audioldm-16k", "nemo-22k")},
    # Powers. A floor below the peak, a last frame left out, a hop that does not divide the window,
    # and four stages; empty bands; a filterbank of another rate; zeros beyond the edges.
    **{name: PRESETS[name].config for name in ("whisper-80", "whisper-128", "torchaudio")},
    **{name: PRESETS[name].config for name in ("styletts2-24k", "librosa")},
    # Other powers. An epsilon; empty bands; a floor below the peak, and a hop that does not divide
    # the window; a floor in dB.
    "power-0.5": altered(power=0.5),
    "power-1.3": altered("torchaudio", power=1.3),
    "power-1.7": altered("whisper-80", power=1.7),
    "power-0.8-in-dB": altered(power=0.8, scale={"kind": "db", "top_db": 80.0}),
    "one-stage": altered(n_fft=2048, hop_length=275, win_length=1100),
    "an-octave-of-seven-bands": altered(n_mels=20, fmax=11025),
    "an-octave-of-eight-bands": altered(n_mels=24, fmax=11025),
    # Bands that are no rising runs, hence one stage; those of powers, many bands to a bin.
    "shuffled-bands": config_of(OUT_OF_ORDER["shuffled"]),
    "wide-bands-of-powers": config_of(OUT_OF_ORDER["wide"], power=2),
    "wide-bands-of-power-1.3": config_of(OUT_OF_ORDER["wide"], power=1.3),
    "triangles-over-mels": altered(triangles="mel", mel_scale="htk", norm=None),
    "a-window-from-an-odd-sample-on": altered(hop_length=254, win_length=1022),
    # Samples that no window reaches; as many as the frames take, by an even and an odd window.
    "no-padding": altered(padding="none", win_length=992, window="blackman"),
    "kaldi": altered(padding="none", win_length=800, window_place="start", window="povey"),
    "python-speech-features": altered(
        padding="none", win_length=551, hop_length=220, window_place="start", window="rectangular"
    ),
    "a-centred-window-at-the-start": altered(
        padding="center_reflect", win_length=800, window_place="start", window="hamming_symmetric"
    ),
}


def clips(config: MelConfig, n_iter: int = FEW) -> list[Item]:
    """As long as its frames allow; so quiet that much is at the floor; of three frames, which some
    edges mirror more than once. The seeds are of those that reach the largest ratio (whisper-128;
    torchaudio with the first) and leave no band so empty that float32 has only its roundings there.
    """
    recipe = resolve(config.power, n_iter=n_iter, harmonics="off")
    whole, quiet = (
        np.ascontiguousarray(extract(config, level * voice(seconds, config.sample_rate)).values.T)
        for seconds, level in ((0.55, np.float32(1.0)), (0.3, np.float32(0.01)))
    )
    return [
        Item(whole, config, recipe, config.sample_range(len(whole))[1], seed=36),
        Item(quiet, config, recipe, config.samples(len(quiet)), seed=33),
        Item(whole[5:8].copy(), config, recipe, config.samples(3), seed=16),
    ]


def written_out(item: Item, schedule: Schedule | None = None, *, floors: bool = True) -> Real:
    """The twin's samples of an item, by another schedule than its own where one is given."""
    config, schedule = item.config, schedule or item.recipe.schedule
    drawn = directions((config.n_bins, item.frames), item.seed).astype(np.float32)
    # In float32 as Unmel has them: how a phase is rounded is no part of the method.
    phases = (drawn * np.float32(2.0 * np.pi * schedule.turn / 2**16)).astype(np.float64)
    mel, bound = twin.aim(config, item.mel.T)
    return twin.consistent(config, mel, bound & floors, phases, schedule, item.samples)


def apart(ours: NDArray[np.floating], theirs: Real) -> float:
    """Distance of samples `[L]` as a share of the twin's."""
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_backend_gives_the_samples_of_the_method_written_out(name: str) -> None:
    items = clips(CONFIGS[name])
    expected = [written_out(item) for item in items]
    for backend, (engine, tolerance) in ENGINES.items():
        for clip, (result, theirs) in enumerate(zip(engine.run(items), expected, strict=True)):
            error = apart(result.values, theirs)
            assert error < tolerance, (backend, clip, error)


def test_no_iteration_is_the_start_written_out() -> None:
    item = clips(HIFIGAN, n_iter=0)[0]
    for engine, tolerance in ENGINES.values():
        assert apart(engine.run([item])[0].values, written_out(item)) < tolerance


def scaled(ramp: Ramp) -> Ramp:
    return Ramp(1.01 * ramp.first, 1.01 * ramp.last)


WRONG: dict[str, Callable[[Schedule], Schedule]] = {
    "momentum": lambda s: dataclasses.replace(s, momentum=scaled(s.momentum)),
    "reflection": lambda s: dataclasses.replace(s, reflection=scaled(s.reflection)),
    "blend": lambda s: dataclasses.replace(s, blend=scaled(s.blend)),
    "exponent": lambda s: dataclasses.replace(s, exponent=scaled(s.exponent)),
    "turn": lambda s: dataclasses.replace(s, turn=1.01 * s.turn),
    "no reflection": lambda s: dataclasses.replace(s, reflection=NONE),
    "two stages": lambda s: dataclasses.replace(s, shares=s.shares[-2:]),
    "one iteration": lambda s: dataclasses.replace(s, n_iter=1),
}


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80"])
@pytest.mark.parametrize("what", WRONG)
def test_a_number_wrong_by_a_hundredth_is_far_outside_the_tolerance(what: str, name: str) -> None:
    item = clips(CONFIGS[name])[0]
    wrong = written_out(item, WRONG[what](item.recipe.schedule))
    for engine, tolerance in ENGINES.values():
        assert apart(engine.run([item])[0].values, wrong) > 64 * tolerance


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80"])
def test_a_floor_taken_for_a_level_is_far_outside_the_tolerance(name: str) -> None:
    item = clips(CONFIGS[name])[1]
    wrong = written_out(item, floors=False)
    for engine, tolerance in ENGINES.values():
        assert apart(engine.run([item])[0].values, wrong) > 64 * tolerance
