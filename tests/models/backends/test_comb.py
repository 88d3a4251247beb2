"""The comb's operations on every backend: the formula written out, clip by clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import JUMP, Backend
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.reference import REFERENCE
from unmel.models.mel.presets import PRESETS
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

pytestmark = pytest.mark.loops

CPU = torch.device("cpu")
CONFIG = PRESETS["hifigan-22k"].config
CLIPS = [(9, 8 * 256), (1, 100), (23, 22 * 256 + 77), (2, 256)]
TAPS = np.random.default_rng(1).standard_normal(11).astype(np.float32)
TAPS = TAPS + TAPS[::-1]

Real = NDArray[np.float64]


@pytest.fixture(params=["numba", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = LOOPS.wait() if request.param == "numba" else REFERENCE
    assert found is not None
    return found


def pack_on(backend: Backend) -> PackedStft:
    """Clips of noise, all their edges with it."""
    pack = PackedStft(build_plan(CONFIG, CPU), CLIPS, backend)
    values = np.random.default_rng(0).standard_normal(pack.used * pack.hop).astype(np.float32)
    pack.signal[: len(values)] = torch.from_numpy(values)
    return pack


def of_clips(pack: PackedStft, values: Tensor) -> list[Real]:
    """Each clip's own samples."""
    array = values.numpy().astype(np.float64)
    return [array[s * pack.hop : (s + rows) * pack.hop] for s, _, rows in pack.extents]


def test_a_filter_hears_no_other_clip(backend: Backend) -> None:
    pack = pack_on(backend)
    before = pack.signal.clone()
    found = of_clips(pack, backend.filtered(pack, TAPS))
    for wave, ours in zip(of_clips(pack, before), found, strict=True):
        np.testing.assert_allclose(ours, np.convolve(wave, TAPS, "same"), atol=2e-5)
    assert torch.equal(pack.signal, before)


def combed(wave: Real, band: Real, periods: Real, shares: Real) -> Real:
    """`Backend.comb` of one clip, sample by sample."""
    hop, middle, last = CONFIG.hop_length, CONFIG.win_length // 2, len(periods) - 1
    out = wave.copy()

    def at(place: float) -> float:
        whole = int(np.floor(place))
        f = place - whole
        a, b, c, d = (band[whole + k] if 0 <= whole + k < len(band) else 0.0 for k in (-1, 0, 1, 2))
        cubic = 2 * b + f * (c - a) + f**2 * (2 * a - 5 * b + 4 * c - d)
        return float(0.5 * (cubic + f**3 * (3 * b - a - 3 * c + d)))

    for n in range(len(wave)):
        place = min(max((n - middle) / hop, 0.0), float(last))
        row = min(int(place), max(last - 1, 0))
        after, f = min(row + 1, last), place - row
        share = shares[row] + f * (shares[after] - shares[row])
        lag = periods[row] + f * (periods[after] - periods[row])
        if max(periods[row], periods[after]) > JUMP * min(periods[row], periods[after]):
            lag = periods[row] if f < 0.5 else periods[after]
        out[n] += share * (0.5 * (at(n - lag) + at(n + lag)) - band[n])
    return out


@pytest.mark.parametrize("spread", [4.0, 150.0])
def test_a_comb_is_the_mean_of_both_neighbours_of_its_clip(backend: Backend, spread: float) -> None:
    pack, draw = pack_on(backend), np.random.default_rng(2)
    periods = (60.0 + spread * draw.random(pack.rows)).astype(np.float32)
    shares = draw.random(pack.rows).astype(np.float32)
    shares[3:6] = 0.0
    band = torch.from_numpy(draw.standard_normal(pack.signal.numel()).astype(np.float32))
    waves, bands = of_clips(pack, pack.signal.clone()), of_clips(pack, band)
    backend.comb(pack, band, torch.from_numpy(periods), torch.from_numpy(shares))
    for k, (start, frames, _) in enumerate(pack.extents):
        rows = slice(start, start + frames)
        expected = combed(
            waves[k], bands[k], periods[rows].astype(np.float64), shares[rows].astype(np.float64)
        )
        np.testing.assert_allclose(of_clips(pack, pack.signal)[k], expected, atol=2e-4)
