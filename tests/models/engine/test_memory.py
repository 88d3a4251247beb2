"""Too little memory, wherever in the engine it shows, is said as one error and harms nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.backends.test_cuda import needs_cuda
from tests.signals import voice
from unmel.models.engine import streams
from unmel.models.engine.analysis import Analysis
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.streams import Options
from unmel.models.errors import OutOfMemory
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import resolve
from unmel.models.methods.start.starts import STARTS
from unmel.models.signal import plan as plans

pytestmark = pytest.mark.loops

CONFIG = PRESETS["hifigan-22k"].config
TABLES = {"joint": JOINT, "inversion": INVERSIONS, "phase": PHASES, "start": STARTS}
ASKED: dict[str, dict[str, Any]] = {
    "joint": {"method": "consistent"},
    "inversion": {"inversion": "pinv"},
    "phase": {"phase": "griffin_lim"},
    "start": {"phase": "griffin_lim", "start": "random"},
}
ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()]


def item(frames: int = 5, **options: Any) -> Item:
    recipe = resolve(CONFIG.power, n_iter=2, **options)
    mel = np.full((frames, CONFIG.n_mels), -5.0, np.float32)
    return Item(mel, CONFIG, recipe, CONFIG.samples(frames))


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", TABLES)
def test_a_method_without_memory_fails_as_such_and_the_next_call_is_as_ever(
    monkeypatch: pytest.MonkeyPatch, kind: str, error: Exception
) -> None:
    engine, one = Engine(), item(**ASKED[kind])
    [expected] = engine.run([one])
    name = next(iter(ASKED[kind].values())) if kind != "start" else "random"
    row = dataclasses.replace(TABLES[kind][name], run=failing(error))
    with monkeypatch.context() as patch:
        patch.setitem(TABLES[kind], name, row)
        with pytest.raises(OutOfMemory):
            engine.run([one])
    [again] = engine.run([one])
    assert np.array_equal(again.values, expected.values)


def test_one_pack_without_memory_fails_the_call_and_what_it_said_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")
    row = dataclasses.replace(PHASES["admm"], run=failing(said))
    monkeypatch.setitem(PHASES, "admm", row)
    with pytest.raises(OutOfMemory, match="Tried to allocate 20 MiB"):
        Engine().run([item(), item(phase="admm")])


def test_a_plan_without_memory_is_made_when_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    with monkeypatch.context() as patch:
        patch.setattr(plans, "build_plan", failing(MemoryError()))
        for call in (
            lambda: engine.run([item()]),
            lambda: engine.stream(CONFIG, Options()),
            lambda: engine.run([Analysis(voice(0.1), CONFIG)]),
        ):
            with pytest.raises(OutOfMemory):
                call()
    assert engine.preparation(CONFIG) > 0
    assert engine.run([item()])[0].values.shape == (CONFIG.samples(5),)


def test_an_analysis_without_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.fft, "rfft", failing(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(OutOfMemory):
        Engine().run([Analysis(voice(0.1), CONFIG)])


def test_a_step_without_memory_can_be_taken_again_with_the_same_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()

    def stream() -> streams.Stream:
        made = engine.stream(CONFIG, Options(quality="draft", lookahead=1))
        made.feed(np.full((4, CONFIG.n_mels), -5.0, np.float32))
        return made

    undisturbed, failed = stream(), stream()
    assert undisturbed.step is not None
    assert failed.step is not None
    with monkeypatch.context() as patch:
        patch.setattr(streams, "MelIteration", failing(MemoryError()))
        with pytest.raises(OutOfMemory):
            engine.run([failed.step])
    assert failed.samples == 0
    first, second = engine.run([undisturbed.step])[0], engine.run([failed.step])[0]
    assert np.array_equal(first.values, second.values)


def test_a_plan_that_fell_out_of_the_cache_takes_time_again() -> None:
    others = [PRESETS[name].config for name in ("whisper-80", "librosa")]
    engine = Engine(backend="torch")
    engine.plans.warm([CONFIG])
    small = Engine(backend="torch", plan_bytes=engine.plans.stats.nbytes)  # holds that one
    small.plans.warm([CONFIG])
    assert small.preparation(CONFIG) == 0.0
    small.plans.warm([others[0]])
    assert small.preparation(CONFIG) > 0
    assert small.preparation(CONFIG) == Engine(backend="torch").preparation(CONFIG)


class Card:
    """Stands for the functions of torch that ask a GPU's allocator."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.emptied = 0
        self.held = {torch.device("cuda", 0): (1, 10), torch.device("cuda", 1): (3, 30)}
        patch.setattr(torch.cuda, "memory_allocated", lambda device: self.held[device][0])
        patch.setattr(torch.cuda, "memory_reserved", lambda device: self.held[device][1])
        patch.setattr(torch.cuda, "empty_cache", self._empty)

    def _empty(self) -> None:
        self.emptied += 1


def test_memory_is_that_of_the_engines_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    assert Engine("cuda:1").memory() == {"allocated": 3, "reserved": 30}
    assert Engine("cuda:0").memory() == {"allocated": 1, "reserved": 10}


def test_memory_is_given_back_by_a_gpu_and_no_gpu_is_asked_for_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = Card(monkeypatch)
    Engine("cpu").free_memory()
    assert card.emptied == 0
    Engine("cuda:0").free_memory()
    assert card.emptied == 1


@needs_cuda
def test_a_gpu_gives_back_what_a_pack_took() -> None:
    engine = Engine("cuda")
    engine.run([item(2000)])
    kept = engine.memory()
    assert kept["reserved"] > kept["allocated"] > 0
    engine.free_memory()
    freed = engine.memory()
    assert freed["reserved"] < kept["reserved"]
    assert freed["allocated"] == kept["allocated"]
