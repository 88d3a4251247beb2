"""MKL's transforms called from loops: torch's bits, a thread's own, or torch.fft's instead."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import models.kernels
from models import transforms as module
from models.engine import Engine
from models.kernels.turns import _transform
from models.presets import PRESETS
from models.recipe import resolve
from models.transforms import NotThere, Transforms, block_rows, transforms, width
from tests.models.test_engine import item
from tests.signals import voice

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
        assert _transform(rows, made.table[0]) == 0
        assert np.array_equal(rows.view(np.complex64), spectra.numpy())
        assert _transform(rows, made.table[1]) == 0
        assert np.array_equal(rows[:, :n], torch.fft.irfft(spectra, n=n).numpy())


def test_larger_ones_are_torchs() -> None:
    assert transforms(8193) is None


def test_blocks_are_whole_groups_of_eight_and_fit_a_cache() -> None:
    for n in range(32, 20000, 7):
        assert block_rows(n) % 8 == 0
        assert block_rows(n) * width(n) <= max(2**16, 8 * width(n))


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
    monkeypatch.setattr(models.kernels, "transforms", lambda _: None)
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


@there
def test_descriptors_are_given_back_with_their_thread() -> None:
    library, freed = module._FOUND[0], []

    class Counting:
        def __getattr__(self, name: str) -> object:
            if name == "DftiFreeDescriptor":
                return freed.append
            return getattr(library, name)

    made = Transforms(Counting(), 64)  # type: ignore[arg-type] # a library that counts
    handles = made.table[:, 1:].size
    del made
    gc.collect()
    assert len(freed) == handles


def test_where_torch_has_no_such_library_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_LIBRARY", tmp_path / "libtorch_cpu.so")
    assert module._library() is None


def test_where_another_library_is_found_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIBRARY", "libc.so.6")  # which has none of these functions
    assert module._library() is None


@there
def test_one_wrong_bit_and_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rfft = torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda waves: rfft(waves) * (1.0 + 2.0**-23))
    assert module._library() is None


def test_a_status_of_mkls_is_an_error() -> None:
    with pytest.raises(NotThere, match="status 7"):
        module._check(7)
