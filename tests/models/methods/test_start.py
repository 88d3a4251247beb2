"""Start phases: spsi and pghi against plain loops, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.twins import starts as twins
from tests.models.packs import magnitude_error, magnitude_of, pack_of, plan_of, recovered, voices
from tests.signals import tone
from unmel.models.backends.reference import REFERENCE
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve
from unmel.models.methods.start.pghi import integrate
from unmel.models.methods.start.starts import STARTS
from unmel.models.signal.packed_stft import PackedStft

HIFIGAN = plan_of("hifigan-22k")
FINE = [name for name, p in PRESETS.items() if p.config.win_length >= 4 * p.config.hop_length]


def phases_of(pack: PackedStft, magnitude: torch.Tensor, start: str) -> np.ndarray:
    """The first clip's phases `[T, N]`, counted from the window's middle."""
    config = pack.plan.config
    phases: torch.Tensor = STARTS[start].run(pack, magnitude, [0] * len(pack.clips), 1.0)
    middle = 2 * np.pi * np.arange(config.n_bins) * (config.win_length // 2) / config.n_fft
    return phases[: pack.clips[0][0]].numpy() + middle


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of two angles, radians."""
    return np.abs(np.angle(np.exp(1j * (a - b))))


@pytest.mark.parametrize("name", ["hifigan-22k", "pwg-24k", "whisper-80"])
def test_spsi_equals_a_plain_loop_over_peaks(name: str) -> None:
    plan = plan_of(name)
    [wave] = voices(plan, [0.3])
    pack = pack_of(plan, [wave])
    magnitude = magnitude_of(pack, [wave])
    ours = phases_of(pack, magnitude, "spsi")
    before = None
    for t in range(pack.clips[0][0]):
        before = twins.spsi_frame(plan.config, magnitude[t].numpy(), before)
        assert distance(ours[t], before).max() < 1e-8, t


@pytest.mark.parametrize("name", ["hifigan-22k", "pwg-24k"])
def test_pghi_equals_its_formulas_with_a_plain_heap(name: str) -> None:
    """Bins too faint for a phase of their own have the same random one, rounded to float32."""
    plan = plan_of(name)
    [wave] = voices(plan, [0.3])
    pack = pack_of(plan, [wave])
    magnitude = magnitude_of(pack, [wave])
    level = magnitude[: pack.clips[0][0]].numpy().T
    ours = phases_of(pack, magnitude, "pghi").T
    theirs = twins.pghi(plan.config, level, 0) - twins.from_middle(plan.config, 0.0 * level)
    loud = level > 1e-5 * level.max()
    assert distance(ours, theirs)[loud].max() < 1e-8
    assert (~loud).any()
    assert distance(ours, theirs).max() < 1e-6


def test_pghi_takes_the_loudest_known_bin_first() -> None:
    """Against a search through all of the frontier at every step."""
    rng = np.random.default_rng(0)
    level, over_time, over_bins = (rng.uniform(0.1, 1, (9, 14)) for _ in range(3))
    level[4, :11] = 0.0
    level[:, 6] = 0.0
    ours = np.full(level.shape, 7.0)
    integrate(level, over_time, over_bins, 0.05, ours, REFERENCE)
    theirs = np.full(level.shape, 7.0)
    todo = level > 0.05
    known: list[tuple[int, int]] = []
    while todo.any():
        frontier = [
            (level[t, k], (t, k), (t + dt, k + dk))
            for t, k in known
            for dt, dk in ((1, 0), (-1, 0), (0, 1), (0, -1))
            if 0 <= t + dt < 9 and 0 <= k + dk < 14 and todo[t + dt, k + dk]
        ]
        if not frontier:
            seed = tuple(np.unravel_index(np.argmax(np.where(todo, level, 0.0)), level.shape))
            theirs[seed], todo[seed] = 0.0, False
            known.append(seed)
            continue
        loudest = max(frontier)[1]
        for _, at, to in frontier:
            if at == loudest:
                slope = over_time if at[0] != to[0] else over_bins
                sign = (to[0] - at[0]) + (to[1] - at[1])
                theirs[to] = theirs[at] + sign * (slope[at] + slope[to]) / 2
                todo[to] = False
                known.append(to)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("start", ["spsi", "pghi"])
@pytest.mark.parametrize("name", ["hifigan-22k", "pwg-24k", "audioldm-16k"])
def test_a_tones_phase_advances_by_its_frequency(start: str, name: str) -> None:
    plan = plan_of(name)
    config, hz = plan.config, 1017.3
    wave = tone(hz, 0.5, config.sample_rate).astype(np.float64)
    wave = wave[: config.samples(config.frames(len(wave)))]
    pack = pack_of(plan, [wave])
    phases = phases_of(pack, magnitude_of(pack, [wave]), start)
    peak = round(hz * config.n_fft / config.sample_rate)
    advance = 2 * np.pi * hz * config.hop_length / config.sample_rate
    moved = np.diff(phases[4:-6, peak])
    assert distance(moved, np.full_like(moved, advance)).max() < 0.08


@pytest.mark.parametrize(("start", "decibels"), [("spsi", -6.0), ("pghi", -12.0)])
def test_phases_from_the_magnitude_are_closer_than_random_ones(start: str, decibels: float) -> None:
    [wave] = voices(HIFIGAN, [0.8])
    [result] = recovered(HIFIGAN, [wave], "griffin_lim", 0, start=start)
    [random] = recovered(HIFIGAN, [wave], "griffin_lim", 0)
    error = magnitude_error(HIFIGAN, wave, result)
    assert 20 * np.log10(error) < decibels
    assert error < 0.8 * magnitude_error(HIFIGAN, wave, random)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", ["hifigan-22k", "pwg-24k", "audioldm-16k"])
def test_a_clip_has_the_same_bits_alone_and_in_any_pack(start: str, name: str) -> None:
    plan = plan_of(name, torch.float32)
    waves = voices(plan, [0.15, 0.32, 0.05])
    waves.append(0.0 * waves[0])
    alone = [
        recovered(plan, [w], "griffin_lim", 3, start=start, seeds=[k])[0]
        for k, w in enumerate(waves)
    ]
    for order in ([0, 1, 2, 3], [3, 2, 0]):
        together = recovered(
            plan, [waves[k] for k in order], "griffin_lim", 3, start=start, seeds=order
        )
        for k, result in zip(order, together, strict=True):
            assert np.array_equal(result, alone[k]), (order, k)
    assert not alone[3].any()


@pytest.mark.loops
@pytest.mark.parametrize("name", PRESETS)
def test_pghi_is_refused_where_fewer_than_four_windows_overlap(name: str) -> None:
    config = PRESETS[name].config
    mel = np.ones((3, config.n_mels), np.float32)
    recipe = resolve(config.power, phase="griffin_lim", start="pghi", n_iter=1)
    item = Item(mel, config, recipe, config.samples(3))
    if name in FINE:
        assert np.isfinite(Engine().run([item])[0].values).all()
    else:
        with pytest.raises(Invalid, match=r"start: .*at least four hops"):
            Engine().run([item])


@pytest.mark.parametrize("start", ["spsi", "pghi"])
@pytest.mark.parametrize("frames", [1, 2])
def test_starts_of_very_short_clips_are_finite(start: str, frames: int) -> None:
    [whole] = voices(HIFIGAN, [0.3])
    [result] = recovered(HIFIGAN, [whole[: HIFIGAN.config.samples(frames)]], "raar", 2, start=start)
    assert np.isfinite(result).all()
