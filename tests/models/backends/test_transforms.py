"""MKL's transforms called from loops: torch's bits, a thread's own, or torch.fft's instead."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import unmel.models.backends.cpu.kernels
from tests.models.engine.test_engine import item
from tests.signals import voice
from unmel.models.backends.cpu import transforms as module
from unmel.models.backends.cpu.iterations import transform_rows
from unmel.models.backends.cpu.transforms import NotThere, Transforms, block_rows, transforms, width
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.recipe import resolve

pytestmark = pytest.mark.loops

there = pytest.mark.skipif(transforms(64) is None, reason="torch's library has no MKL here")


@there
@pytest.mark.parametrize("n", [32, 33, 50, 64, 100, 400, 1024, 1100, 1200, 2048, 4096, 8192])
def test_transforms_have_torchs_bits_however_many_rows(n: int) -> None:
    torch.set_num_threads(1)
    made = transforms(n)
    assert made is not None
    for count in {1, 7, block_rows(n) // 2 + 1, block_rows(n)}:
        waves = torch.randn(count, n, generator=torch.Generator().manual_seed(n + count))
        spectra = torch.fft.rfft(waves)
        rows = np.zeros((count, width(n)), np.float32)
        rows[:, :n] = waves.numpy()
        assert transform_rows(rows, made.table[0]) == 0
        assert np.array_equal(rows.view(np.complex64), spectra.numpy())
        assert transform_rows(rows, made.table[1]) == 0
        assert np.array_equal(rows[:, :n], torch.fft.irfft(spectra, n=n).numpy())


def test_larger_ones_are_torchs() -> None:
    assert transforms(8193) is None


def test_a_block_of_the_usual_sizes_fits_half_a_megabyte_in_whole_groups() -> None:
    assert {n: block_rows(n) for n in (64, 1024, 2048, 16384)} == {
        64: 992,
        1024: 56,
        2048: 24,
        16384: 8,
    }


def _values(seconds: float) -> bytes:
    config = PRESETS["hifigan-22k"].config
    recipe = resolve(config.power, n_iter=6)
    return (
        Engine().run([item(voice(seconds, config.sample_rate), config, recipe)])[0].values.tobytes()
    )


@pytest.mark.parametrize("seconds", [0.02, 0.7, 2.3])
def test_without_them_the_result_has_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    expected = _values(seconds)
    monkeypatch.setattr(unmel.models.backends.cpu.kernels, "transforms", lambda _: None)
    assert _values(seconds) == expected


@there
def test_every_thread_has_its_own_and_keeps_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    found: list[Transforms | None] = []

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
    monkeypatch.setitem(module._USABLE, 72, library)  # type: ignore[arg-type] # a library that counts
    thread = threading.Thread(target=transforms, args=(72,))
    thread.start()
    thread.join()
    gc.collect()
    calls = library.calls
    assert calls["DftiFreeDescriptor"] == calls["DftiCreateDescriptor_s_1d"] > 0


@there
def test_a_descriptor_that_cannot_be_made_leaves_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(status=1)
    monkeypatch.setitem(module._USABLE, 74, library)  # type: ignore[arg-type] # a library that fails
    assert transforms(74) is None
    assert library.calls["DftiFreeDescriptor"] == 1


def test_where_torch_has_no_such_library_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_LIBRARY", tmp_path / "libtorch_cpu.so")
    assert module._library(64) is None


def test_where_another_library_is_found_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIBRARY", "libc.so.6")  # which has none of these functions
    assert module._library(64) is None


@there
def test_one_wrong_bit_and_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rfft = torch.fft.rfft

    def wrong(waves: torch.Tensor) -> torch.Tensor:
        spectra = rfft(waves)
        spectra[-1, 3] *= 1.0 + 2.0**-23
        return spectra

    monkeypatch.setattr(torch.fft, "rfft", wrong)
    assert module._library(64) is None


def test_a_status_of_mkls_is_an_error() -> None:
    with pytest.raises(NotThere, match="status 7"):
        module._check(7)
