"""Transforms called from loops: the right ones, a thread's own, MKL's or rocket-fft's."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.families import FAMILIES
from tests.models.backends import test_twin_of_consistent as twin
from tests.models.engine.test_choose import CPU
from tests.models.engine.test_engine import item
from tests.signals import voice
from unmel.models.backends.cpu import transforms as module
from unmel.models.backends.cpu.iterations import AXES, backward, forward
from unmel.models.backends.cpu.transforms import (
    Transforms,
    Unavailable,
    block_rows,
    mkl,
    transforms,
    width,
)
from unmel.models.engine.choose import choose
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve

pytestmark = pytest.mark.loops

there = pytest.mark.skipif(mkl() is None, reason="torch's library has no MKL here")

SIZES = [2, 7, 32, 33, 50, 64, 100, 256, 400, 551, 1024, 1100, 1102, 1103, 2048, 8192, 8193, 16384]
NEAR = 1e-5


@pytest.fixture(params=[pytest.param("mkl+ducc", marks=there), "ducc"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With MKL, and as on a machine without it."""
    if request.param == "ducc":
        monkeypatch.setattr(module, "mkl", lambda: None)
    name: str = request.param
    return name


def there_and_back(
    made: Transforms, waves: NDArray[np.float32]
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    count, n = waves.shape
    rows = np.zeros((count, width(n)), np.float32)
    rows[:, :n] = waves
    spectra = rows if made.in_place else np.zeros_like(rows)
    assert forward(rows, spectra, n, made.table, AXES) == 0
    found = spectra.view(np.complex64)[:, : n // 2 + 1].copy()
    assert backward(spectra, rows, n, made.table, AXES) == 0
    return found, rows[:, :n].copy()


@pytest.mark.parametrize("n", SIZES)
def test_a_row_has_its_spectrum_and_comes_back_with_the_same_bits_in_any_company(
    n: int, library: str
) -> None:
    made, most = transforms(n), block_rows(n)
    assert made.in_place == (library != "ducc" and n in {2, 32, 64, 256, 1024, 2048, 8192})
    waves = np.random.default_rng(n).standard_normal((most, n), np.float32)
    spectra, back = there_and_back(made, waves)
    exact = np.fft.rfft(waves.astype(np.float64))
    assert np.abs(spectra - exact).max() < NEAR * np.abs(exact).max()
    assert np.abs(back - waves).max() < NEAR * np.abs(waves).max()
    for count in {1, 2, 3, 4, 5, 7, 8, most // 2 + 1, most - 1} & set(range(1, most)):
        for first in {0, 1, most - count}:
            part = slice(first, first + count)
            alone = there_and_back(made, waves[part])
            assert np.array_equal(alone[0], spectra[part])
            assert np.array_equal(alone[1], back[part])


def test_rows_are_whole_eights_of_bins_and_a_block_whole_groups() -> None:
    assert [width(n) for n in (50, 64, 1024, 1103)] == [64, 80, 1040, 1104]
    for n in SIZES:
        assert block_rows(n) % 8 == 0
        assert block_rows(n) * width(n) <= max(
            module.BLOCK_FLOATS, module.MIN_BLOCK_ROWS * width(n)
        )


@pytest.mark.parametrize("name", twin.CONFIGS)
def test_without_mkl_the_method_is_what_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "mkl", lambda: None)
    items = twin.clips(twin.CONFIGS[name])
    for one, found in zip(items, Engine().run(items), strict=True):
        assert twin.apart(found.values, twin.written_out(one)) < twin.TOLERANCE


def _clip(name: str, seconds: float, seed: int) -> Item:
    config = PRESETS[name].config
    recipe = resolve(config.power, n_iter=3)
    return item(voice(seconds, config.sample_rate, seed=seed), config, recipe, seed=seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_alone_twice_and_in_any_pack_a_clip_has_the_same_bytes(name: str, library: str) -> None:
    engine, lengths = Engine(), (0.21, 1.3, 0.05, 0.37)
    items = [_clip(name, seconds, seed) for seed, seconds in enumerate(lengths)]
    alone = [engine.run([one])[0].values.tobytes() for one in items]
    for order in ((0, 1, 2, 3), (3, 1, 0, 2), (2, 0), (0, 1, 2, 3)):
        found = engine.run([items[k] for k in order])
        assert [one.values.tobytes() for one in found] == [alone[k] for k in order]


def test_the_backend_says_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("numba", CPU).fft == ("ducc" if mkl() is None else "mkl+ducc")
    monkeypatch.setattr(module, "_FOUND", [None])
    assert choose("numba", CPU).fft == "ducc"
    assert not transforms(64).in_place


def test_every_thread_has_its_own_and_keeps_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_SIZES", 2)
    found: list[Transforms] = []

    def ask() -> None:
        first = transforms(96)
        found.extend([first, transforms(98), transforms(96), transforms(100), transforms(98)])

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    first, second, again, _, anew = found
    assert first is again is not transforms(96)
    assert second is not anew  # three sizes for two places: it was the one longest unused


class Library:
    """torch's, whose calls are counted, and whose commits may fail."""

    def __init__(self, status: int = 0) -> None:
        self.real, self.status = ctypes.CDLL(str(module._LIBRARY)), status
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        function = getattr(self.real, name)
        if name.startswith("DftiCompute"):
            return function

        def call(*arguments: object) -> int:
            self.calls[name] += 1
            found: int = function(*arguments)
            return self.status if name == "DftiCommitDescriptor" else found

        return call


@there
def test_descriptors_are_given_back_when_their_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library()
    monkeypatch.setattr(module, "_FOUND", [library])
    thread = threading.Thread(target=transforms, args=(128,))
    thread.start()
    thread.join()
    gc.collect()
    calls = library.calls
    assert calls["DftiFreeDescriptor"] == calls["DftiCreateDescriptor_s_1d"] > 0


@there
def test_a_descriptor_that_cannot_be_made_is_no_reason_for_other_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library(status=1)
    monkeypatch.setattr(module, "_FOUND", [library])
    with pytest.raises(Unavailable, match="status 1"):
        Transforms(128, library)  # type: ignore[arg-type] # a library that fails
    gc.collect()
    assert library.calls["DftiFreeDescriptor"] == 1


@pytest.mark.parametrize("other", ["libtorch_cpu.so", "libc.so.6"])
def test_where_there_is_no_such_library_or_another_one_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: str
) -> None:
    monkeypatch.setattr(module, "_LIBRARY", tmp_path / other if "torch" in other else other)
    assert module._library() is None


@there
def test_one_wrong_value_and_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rfft = np.fft.rfft
    monkeypatch.setattr(np.fft, "rfft", lambda waves: rfft(waves) * (1.0 + 1e-4))
    assert module._library() is None


def test_a_status_of_mkls_is_an_error() -> None:
    with pytest.raises(Unavailable, match="status 7"):
        module._check(7)
