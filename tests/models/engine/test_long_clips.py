"""A clip too long for one pack: cut into blocks that fit, without a seam, and within the budget."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.banks import OUT_OF_ORDER, config_of
from tests.models.engine.test_engine import item, mel_error
from tests.signals import voice
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.long_clips import blocks, margin
from unmel.models.engine.memory import row_bytes
from unmel.models.engine.work import Resources, Result
from unmel.models.errors import TooLarge
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.projection import clip_mask
from unmel.models.methods.recipe import Recipe, resolve
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

pytestmark = pytest.mark.loops

CONFIG = PRESETS["hifigan-22k"].config
ROWS = 130  # of a pack that the engine below may hold
RECIPE = resolve(1, n_iter=24)


def engine(config: str = "hifigan-22k", recipe: Recipe = RECIPE, rows: int = ROWS) -> Engine:
    return Engine(pack_bytes=rows * row_bytes(PRESETS[config].config, recipe))


def long_voice(config: str = "hifigan-22k", recipe: Recipe = RECIPE, seconds: float = 6.0) -> Item:
    preset = PRESETS[config].config
    return item(voice(seconds, preset.sample_rate, seed=3), preset, recipe, seed=5)


@given(st.integers(1, 5000), st.integers(20, 700), st.integers(1, 9))
def test_blocks_cover_every_frame_and_overlap_by_the_margin(
    frames: int, limit: int, both: int
) -> None:
    cut = list(blocks(frames, limit, both))
    assert cut[0].first == cut[0].settled == 0
    assert cut[-1].done == cut[-1].end == frames
    assert all(1 <= b.end - b.first <= limit for b in cut)
    for before, after in itertools.pairwise(cut):
        assert after.settled == before.done
        assert before.end - before.done == after.settled - after.first == both
    assert len(cut) == max(1, -(-(frames - 2 * both) // (limit - 2 * both)))


def test_blocks_that_would_be_all_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot share"):
        list(blocks(100, 16, 8))


def test_pinned_samples_stay_and_the_rest_agrees_with_them() -> None:
    plan = build_plan(CONFIG, torch.device("cpu"))
    wave = torch.from_numpy(voice(1.0, CONFIG.sample_rate, seed=1))
    frames = CONFIG.frames(len(wave))
    pack = PackedStft(plan, [(frames, len(wave))])
    pack.load([wave])
    past = pack.signal[: 20 * CONFIG.hop_length].clone()
    pack.pin([past])
    inside = clip_mask(pack)
    spectra = [pack.spectrum(run) for run in pack.runs()]
    pack.begin()
    for run, spectrum in zip(pack.runs(), spectra, strict=True):
        pack.add(run, spectrum * inside[run])
    pack.finish()
    assert torch.equal(pack.signal[: len(past)], past)
    assert torch.allclose(pack.audio()[0], wave, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "tacotron2-22k", "librosa"])
def test_blocks_keep_every_sample_and_the_mel(name: str) -> None:
    config = PRESETS[name].config
    recipe = resolve(config.power, n_iter=60)
    wave = voice(6.0, config.sample_rate, seed=3)
    one = item(wave, config, recipe)
    whole = Engine().run([one])[0].values
    cut = engine(name, recipe).run([one])[0].values
    assert len(cut) == len(whole) == one.samples
    assert not np.array_equal(cut, whole)
    # Another run of a chaotic iteration: from one seed to the next the error changes by a third.
    assert mel_error(config, wave, cut) < 1.5 * mel_error(config, wave, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "admm_mel"},
        {"inversion": "smooth", "phase": "griffin_lim"},
        {"inversion": "smooth", "phase": "accelerated"},
        {"inversion": "smooth", "phase": "admm"},
        {"inversion": "smooth", "phase": "raar"},
        {"inversion": "smooth", "phase": "difference_map"},
        {"inversion": "smooth", "phase": "lbfgs"},
    ],
    ids=lambda options: "-".join(options.values()) or "default",
)
def test_a_border_of_blocks_is_no_louder_than_the_same_place_without_one(
    options: dict[str, str],
) -> None:
    recipe = resolve(1, n_iter=24, **options)  # type: ignore[arg-type] # names of options
    one = long_voice(recipe=recipe, seconds=8.0)
    whole, cut = Engine().run([one])[0].values, engine(recipe=recipe).run([one])[0].values
    borders = [
        b.settled * CONFIG.hop_length - CONFIG.lead
        for b in blocks(one.frames, ROWS - CONFIG.overlap + 1, margin(CONFIG))
        if b.settled
    ]
    assert len(borders) > 5
    near = np.array([[at + k for k in range(-2, 2)] for at in borders])
    jumps = [np.abs(np.diff(wave))[near] for wave in (cut, whole)]
    assert jumps[0].mean() < 1.5 * jumps[1].mean()
    assert jumps[0].max() < np.abs(np.diff(whole)).max()


def test_a_long_clip_is_the_same_twice_and_silence_stays_silence() -> None:
    one = long_voice()
    results = [engine().run([one])[0].values for _ in range(2)]
    assert np.array_equal(*results)
    silent = dataclasses.replace(one, mel=np.full_like(one.mel, np.log(1e-5)))
    assert not engine().run([silent])[0].values.any()


def test_no_pack_exceeds_the_budget_and_the_bits_stay_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six clips and a long one: in several packs, with the same bits as alone."""
    items = [
        item(voice(0.3 + 0.1 * k, CONFIG.sample_rate, seed=k), CONFIG, RECIPE) for k in range(6)
    ]
    items.insert(3, long_voice())
    small = engine()
    alone = [small.run([one])[0].values for one in items]
    packs: list[list[Item]] = []
    compute = Item.compute

    def watch(self: Item, resources: Resources, pack: list[Item]) -> list[Result]:
        packs.append(pack)
        return compute(self, resources, pack)

    monkeypatch.setattr(Item, "compute", watch)
    together = [result.values for result in small.run(items)]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert all(len(pack) == 1 or sum(one.rows for one in pack) <= ROWS for pack in packs)
    assert 2 < len(packs) < len(items)


def test_given_phases_reach_every_block() -> None:
    recipe = resolve(1, n_iter=0, start="given")
    rng = np.random.default_rng(0)
    one = long_voice(recipe=recipe)
    phases = rng.uniform(0, 6.28, (one.frames, CONFIG.n_bins)).astype(np.float32)
    one = dataclasses.replace(one, phases=phases)
    whole, cut = Engine().run([one])[0].values, engine(recipe=recipe).run([one])[0].values
    assert np.allclose(cut, whole, atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize(
    ("options", "output"),
    [({}, "stft"), ({}, "magnitude"), ({"inversion": "pinv", "phase": "rtisi_la"}, "audio")],
)
def test_a_clip_that_needs_one_pack_is_refused_beyond_the_budget(
    options: dict[str, str], output: str
) -> None:
    recipe = resolve(1, n_iter=1, **options)  # type: ignore[arg-type] # names of options
    one = dataclasses.replace(long_voice(recipe=recipe), output=output)
    with pytest.raises(TooLarge, match=r"at most \d+"):
        engine(recipe=recipe).run([one])
    assert Engine().run([one])


_PEAK = """
import re, sys
from pathlib import Path
import numpy as np
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve

frames, rows, budget = map(int, sys.argv[1:4])
config = PRESETS["hifigan-22k"].config
engine = Engine(pack_bytes=budget, backend="torch")
recipe = resolve(1, n_iter=1, **eval(sys.argv[4]))

def held(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def peak(frames):
    mel = np.random.default_rng(0).normal(-5, 2, (frames, 80)).astype(np.float32)
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held now
    engine.run([Item(mel, config, recipe, config.samples(frames))])
    return held("VmHWM") - before

peak(300)
print(peak(rows - 3), peak(frames))
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux can say what a process held"
)
@pytest.mark.parametrize(
    "options",
    [{}, {"start": "spsi"}, {"inversion": "pinv", "phase": "accelerated"}],
    ids=["default", "spsi", "accelerated"],
)
def test_a_pack_stays_within_its_budget(options: dict[str, str]) -> None:
    """Of the process's memory: one pack that just fits, then a clip of three times that."""
    budget = 32 * 2**20
    rows = budget // row_bytes(CONFIG, resolve(1, n_iter=1, **options))  # type: ignore[arg-type] # names of options
    frames = 3 * rows
    arguments = [str(frames), str(rows), str(budget), repr(options)]
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *arguments], capture_output=True, text=True, check=True
    )
    fitting, long = map(int, done.stdout.split())
    # The mel and the audio of the clip itself, several times over, are no part of a pack.
    own = (6 * CONFIG.n_mels + 4 * CONFIG.hop_length) * 4
    assert rows * own // 8 < fitting < budget + rows * own
    assert long < budget + frames * own


@pytest.mark.parametrize("name", ["shuffled", "wide"])
def test_blocks_of_bands_out_of_order_are_as_close_to_the_mel_as_one_pack(name: str) -> None:
    config = config_of(OUT_OF_ORDER[name])
    wave = voice(4.0, config.sample_rate, seed=3)
    one = item(wave, config, RECIPE, seed=5)
    cut = Engine(pack_bytes=ROWS * row_bytes(config, RECIPE))
    in_blocks, whole = (e.run([one])[0].values for e in (cut, Engine()))
    assert not np.array_equal(in_blocks, whole)
    assert mel_error(config, wave, in_blocks) < 1.1 * mel_error(config, wave, whole)
