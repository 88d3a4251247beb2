"""The engine and its device: out of memory is said as such, plans are foreseen."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch

from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.errors import OutOfMemory
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve

pytestmark = pytest.mark.loops

CONFIG = PRESETS["hifigan-22k"].config
ITEM = Item(np.full((5, 80), -5.0, np.float32), CONFIG, resolve(1, n_iter=1), CONFIG.samples(5))


def failing(monkeypatch: pytest.MonkeyPatch, fail: Callable[[object], object]) -> Engine:
    engine = Engine()
    monkeypatch.setattr(Item, "compute", lambda *given: fail(given[-1]))
    return engine


def test_what_a_cpu_says_when_it_has_no_memory_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = failing(monkeypatch, lambda _: torch.empty(2**60))
    with pytest.raises(OutOfMemory):
        engine.run([ITEM])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    ],
)
def test_every_kind_of_too_little_memory_is_one(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: object) -> None:
        raise error

    with pytest.raises(OutOfMemory):
        failing(monkeypatch, fail).run([ITEM])


def test_any_other_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("an illegal memory access")

    with pytest.raises(RuntimeError, match="illegal"):
        failing(monkeypatch, fail).run([ITEM])


def test_the_error_does_not_keep_the_memory_that_was_wanting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[weakref.ref[object]] = []

    class Large:
        """Stands for a tensor in the frame that failed."""

    def fail(_: object) -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise MemoryError

    with pytest.raises(OutOfMemory) as caught:
        failing(monkeypatch, fail).run([ITEM])
    gc.collect()
    assert held[0]() is None
    assert caught.value.__context__ is None


def test_a_plan_takes_time_until_it_is_there() -> None:
    engine = Engine()
    large = PRESETS["whisper-80"].config.model_copy(update={"n_fft": 4096, "n_mels": 512})
    assert 0 < engine.preparation(CONFIG) < engine.preparation(large)
    engine.run([ITEM])
    assert engine.preparation(CONFIG) == 0.0
    assert engine.preparation(large) > 0


def test_a_cpu_has_no_memory_of_its_own_to_tell_of() -> None:
    engine = Engine("cpu")
    engine.free_memory()
    assert engine.memory() == {}
