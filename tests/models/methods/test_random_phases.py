"""Random phases: uniform, independent, and decided by seed, frame and bin alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.twins.starts import directions
from tests.models.engine.test_engine import item
from tests.models.packs import plan_of
from tests.models.pretend import PretendedCuda
from tests.signals import voice
from unmel.models.backends.base import Backend
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.reference import REFERENCE
from unmel.models.engine.engine import Engine
from unmel.models.engine.memory import row_bytes
from unmel.models.engine.streams import Options
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve
from unmel.models.methods.start.random_phases import frame_keys, random_phases, step_of
from unmel.models.methods.start.starts import STARTS
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

CONFIG = PRESETS["hifigan-22k"].config
STEP = np.float32(step_of(0.45))
# The bounds of the service's seeds, those of 32 and of 64 bits, and some below zero.
SEEDS = (0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1, -1, -(2**70) + 5)


def drawn(seed: int, frames: range, n_bins: int, backend: Backend = REFERENCE) -> NDArray[np.int64]:
    """Directions `[T, N]`: phases whose step is a radian."""
    out = torch.full((len(frames), n_bins), 7.0)
    backend.draw(torch.from_numpy(frame_keys(seed, frames)), 1.0, out)
    return out.numpy().astype(np.int64)


def arrows(directions: NDArray[np.int64]) -> NDArray[np.complex128]:
    return np.exp(2j * np.pi * directions / 2**16)


# --- what they are --------------------------------------------------------------------------------


def test_the_directions_of_a_seed_never_change() -> None:
    assert drawn(0, range(2), 4).tolist() == [
        [42737, 14284, 28413, 16712],
        [63679, 2649, 19750, 41989],
    ]
    assert drawn(1, range(861, 862), 513)[0, -4:].tolist() == [37526, 58496, 35019, 41333]
    assert drawn(2**63 - 1, range(1), 4).tolist()[0] == [57325, 27932, 29793, 23201]


@pytest.mark.parametrize("seed", SEEDS)
def test_directions_are_those_of_the_hash_written_out(seed: int) -> None:
    assert np.array_equal(drawn(seed, range(5), 129).T, directions((129, 5), seed))


@pytest.mark.loops
@pytest.mark.parametrize("width", [1, 7, 129, 513, 1025])
def test_compiled_loops_have_the_bits_of_torch(width: int) -> None:
    loops = LOOPS.wait()
    assert loops is not None
    keys = torch.from_numpy(frame_keys(5, range(300)))
    keys[[0, 131, 299]] = 0
    step = step_of(0.45)
    found = torch.full((2, 300, width), 7.0)
    for backend, out in zip((REFERENCE, loops), found, strict=True):
        backend.draw(keys, step, out)
    assert torch.equal(*found)
    assert not found[0][[0, 131, 299]].any()
    exact = directions((width, 1), 5).T
    alone = torch.empty(1, width)
    loops.draw(torch.from_numpy(frame_keys(5, range(1))), step, alone)
    assert np.array_equal(alone.numpy(), exact.astype(np.float32) * np.float32(step))


def test_double_precision_has_the_phases_of_single() -> None:
    keys = torch.from_numpy(frame_keys(5, range(3)))
    single, double = torch.empty(3, 40), torch.empty(3, 40, dtype=torch.float64)
    for out in (single, double):
        REFERENCE.draw(keys, step_of(0.45), out)
    assert torch.equal(single.double(), double)


# --- that they are random -------------------------------------------------------------------------


def assert_uniform(sample: NDArray[np.int64]) -> None:
    """Chi-square of 256 classes of the upper eight bits, and of the lower, within 5 deviations."""
    for part in (sample >> 8, sample & 255):
        counts = np.bincount(part.ravel(), minlength=256)
        expected = sample.size / 256
        squares = float(((counts - expected) ** 2 / expected).sum())
        assert abs(squares - 255) < 5 * np.sqrt(2 * 255)


def test_directions_are_uniform_over_bins_frames_and_seeds() -> None:
    assert_uniform(drawn(0, range(1), 2**15 + 1))
    assert_uniform(drawn(0, range(2**15), 1))
    assert_uniform(np.stack([drawn(seed, range(1), 1) for seed in range(2**13)]))
    assert_uniform(drawn(1, range(1000), 513))


def assert_unrelated(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> None:
    """The mean of the differences' directions, and of the sums', is that of chance."""
    for products in (a * b, a * b.conj()):
        assert abs(products.mean()) < 4.0 / np.sqrt(a.size)


@pytest.mark.parametrize("apart", [1, 2, 3, 16, 256])
def test_neighbours_are_unrelated(apart: int) -> None:
    phases = arrows(drawn(3, range(600), 513))
    assert_unrelated(phases[:, apart:], phases[:, :-apart])
    assert_unrelated(phases[apart:], phases[:-apart])
    assert_unrelated(phases[apart:, apart:], phases[:-apart, :-apart])
    assert_unrelated(phases, arrows(drawn(3 + apart, range(600), 513)))
    assert_unrelated(phases, arrows(drawn(3 + 2 ** (apart % 63), range(600), 513)))
    assert_unrelated(phases, arrows(drawn(3, range(apart, 600 + apart), 513)))


def test_the_spectrum_over_frames_and_bins_is_flat() -> None:
    power = np.abs(np.fft.fft2(arrows(drawn(0, range(512), 512)))) ** 2 / 512**2
    assert power.max() < 20.0  # the largest of 2^18 exponential numbers is 12.5 on average
    for axis in (0, 1):
        means = power.mean(axis=axis)
        assert np.abs(means - 1.0).max() < 5.0 / np.sqrt(512)


def test_seeds_that_differ_in_any_bit_differ() -> None:
    first = {drawn(seed, range(1), 8).tobytes() for seed in (0, *(2**k for k in range(64)))}
    assert len(first) == 65


# --- where they are drawn -------------------------------------------------------------------------


def test_a_clip_has_the_same_phases_alone_in_a_pack_and_on_a_device() -> None:
    plan = plan_of("hifigan-22k", torch.float32)
    clips, seeds = [(9, CONFIG.samples(9)), (4, CONFIG.samples(4)), (30, CONFIG.samples(30))], SEEDS
    pack = PackedStft(plan, clips)
    phases = random_phases(pack, torch.empty(0), seeds[:3], 0.45)
    between = torch.ones(pack.rows, dtype=torch.bool)
    for k, (start, frames, _) in enumerate(pack.extents):
        alone = PackedStft(plan, clips[k : k + 1])
        expected = random_phases(alone, torch.empty(0), seeds[k : k + 1], 0.45)[:frames]
        assert torch.equal(phases[start : start + frames], expected)
        between[start : start + frames] = False
    assert between.any()
    assert not phases[between].any()
    with PretendedCuda() as cuda:
        there = PackedStft(build_plan(CONFIG, torch.device("cuda")), clips)
        cuda.crossings.clear()
        on_device = random_phases(there, torch.empty(0), seeds[:3], 0.45)
        assert [(c.way, c.waits) for c in cuda.crossings] == [("up", False)]
        assert torch.equal(on_device.cpu(), phases[: there.rows])


def test_bins_too_faint_for_pghi_have_the_same_phases_in_a_block_too() -> None:
    pack = PackedStft(plan_of("hifigan-22k"), [(6, CONFIG.samples(6))])
    pack.firsts = [11]
    silent = torch.zeros(pack.rows, CONFIG.n_bins, dtype=torch.float64)
    found, wanted = (
        STARTS[name].run(pack, silent, [3], 0.45)[:6].numpy() for name in ("pghi", "random")
    )
    middle = 2 * np.pi * np.arange(CONFIG.n_bins) * (CONFIG.win_length // 2) / CONFIG.n_fft
    assert np.abs(np.exp(1j * (found + middle)) - np.exp(1j * wanted)).max() < 1e-9
    assert np.array_equal(wanted, drawn(3, range(11, 17), CONFIG.n_bins).astype(np.float32) * STEP)


@pytest.mark.loops
def test_a_block_of_a_long_clip_has_the_phases_of_its_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def spied(pack: PackedStft, *given: object) -> torch.Tensor:
        seen.append(pack.firsts)
        phases: torch.Tensor = random_phases(pack, *given)  # type: ignore[arg-type]
        [(frames, _)] = pack.clips
        whole = drawn(5, range(pack.firsts[0], pack.firsts[0] + frames), CONFIG.n_bins)
        assert np.array_equal(phases[:frames].numpy(), whole.astype(np.float32) * STEP)
        return phases

    monkeypatch.setitem(STARTS, "random", dataclasses.replace(STARTS["random"], run=spied))
    recipe = resolve(1, n_iter=1)
    assert recipe.schedule.turn == 0.45
    engine = Engine(pack_bytes=120 * row_bytes(CONFIG, recipe))
    engine.run([item(voice(3.0), CONFIG, recipe, seed=5)])
    assert len(seen) > 2
    assert seen[0] == [0]
    assert sorted(seen) == seen


@pytest.mark.loops
def test_a_stream_draws_every_frame_once_and_as_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    stream = engine.stream(CONFIG, Options("draft", 2, seed=9))
    keys: list[torch.Tensor] = []
    draw = engine.backend.draw

    def spied(found: torch.Tensor, step: float, out: torch.Tensor) -> None:
        keys.append(found.clone())
        draw(found, step, out)

    monkeypatch.setattr(engine.backend, "draw", spied)
    for count in (4, 1, 6, 2):
        stream.feed(np.full((count, CONFIG.n_mels), -5.0, np.float32))
        if count == 2:
            stream.end()
        while (step := stream.step) is not None:
            engine.run([step])
    assert np.array_equal(np.concatenate(keys), frame_keys(9, range(13)))
