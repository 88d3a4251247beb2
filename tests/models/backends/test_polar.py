"""Magnitudes and phases made a spectrum: right, and with the same bits by torch and compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.polar import polar, polar_into

pytestmark = pytest.mark.loops


@pytest.mark.parametrize("largest", [3.0, 100.0, 1e4])
def test_a_phase_is_a_direction_to_the_last_digits(largest: float) -> None:
    generator = np.random.default_rng(1)
    phases = generator.uniform(-largest, largest, (40, 129)).astype(np.float32)
    magnitude = generator.uniform(0.0, 2.0, phases.shape).astype(np.float32)
    expected = magnitude * np.exp(1j * phases.astype(np.float64))
    found = polar(torch.from_numpy(magnitude), torch.from_numpy(phases)).numpy()
    assert np.abs(found - expected).max() < 5e-7


def test_quarters_of_a_turn_go_where_they_should() -> None:
    turns = torch.arange(-8, 9, dtype=torch.float32)
    found = polar(torch.ones(17), turns * (torch.pi / 2)).numpy()
    assert np.abs(found - 1j ** np.arange(-8.0, 9.0)).max() < 2e-6


def test_compiled_and_torch_give_the_same_bits() -> None:
    generator = torch.Generator().manual_seed(2)
    phases = torch.randn(50, 65, generator=generator) * 300.0
    magnitude = torch.rand(50, 65, generator=generator)
    kernels = LOOPS.wait()
    assert kernels is not None
    assert torch.equal(polar(magnitude, phases, kernels), polar(magnitude, phases))


def test_bins_beside_the_wanted_ones_stay_as_they_are() -> None:
    phases, magnitude = torch.ones(3, 20), torch.ones(3, 20)
    kept = {}
    for kernels in (None, LOOPS.wait()):
        out = torch.full((3, 12), 7.0 + 0.0j)
        polar_into(out, magnitude, phases, slice(4, 9), kernels)
        assert bool((out[:, :4] == 7.0).all())
        assert bool((out[:, 9:] == 7.0).all())
        kept[kernels is None] = out
    assert torch.equal(kept[True], kept[False])


def test_doubles_are_torchs_own() -> None:
    phases = torch.linspace(-50.0, 50.0, 99, dtype=torch.float64)
    magnitude = torch.full_like(phases, 2.0)
    found = polar(magnitude, phases)
    assert found.dtype == torch.complex128
    expected = torch.complex(magnitude * torch.cos(phases), magnitude * torch.sin(phases))
    assert torch.equal(found, expected)
