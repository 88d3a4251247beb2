"""Sparse band sums: the filterbank's own products, row by row the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.banks import OUT_OF_ORDER, config_of
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.presets import PRESETS
from unmel.models.signal import band_tables
from unmel.models.signal.band_tables import make_bands
from unmel.models.signal.plan import build_plan

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", PRESETS)
def test_sums_and_spread_are_the_products_with_the_matrices(name: str) -> None:
    plan = build_plan(PRESETS[name].config, CPU, torch.float64)
    bands = plan.bands
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(5, plan.config.n_bins, dtype=torch.float64, generator=generator)
    sums = bands.sums(values[:, bands.inside])
    torch.testing.assert_close(sums, values @ plan.bank, rtol=1e-12, atol=1e-15)
    wide = torch.zeros_like(values)
    wide[:, bands.inside] = bands.spread(sums)
    torch.testing.assert_close(wide, sums @ plan.spread, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", PRESETS)
def test_a_bin_lies_in_two_neighbouring_bands_at_most(name: str) -> None:
    for column in filterbank(PRESETS[name].config).T:
        fed = np.flatnonzero(column)
        assert len(fed) <= 2
        assert len(fed) < 2 or fed[1] - fed[0] == 1


def test_a_row_is_the_same_among_any_others() -> None:
    bands = build_plan(PRESETS["hifigan-22k"].config, CPU).bands
    rows = torch.rand(37, bands.count, generator=torch.Generator().manual_seed(1))
    together = bands.sums(rows)
    for k in (0, 17, 36):
        assert torch.equal(bands.sums(rows[k : k + 1])[0], together[k])


def test_rows_are_the_same_however_many_terms_are_summed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bands = build_plan(PRESETS["hifigan-22k"].config, CPU).bands
    rows = torch.rand(37, bands.count, generator=torch.Generator().manual_seed(1))
    whole = bands.sums(rows)
    monkeypatch.setattr(band_tables, "_MOST_TERMS", 20_000)
    assert torch.equal(bands.sums(rows), whole)


@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_banks_out_of_order_have_the_products_too(name: str) -> None:
    plan = build_plan(config_of(OUT_OF_ORDER[name]), CPU, torch.float64)
    values = torch.rand(5, plan.config.n_bins, dtype=torch.float64)
    sums = plan.bands.sums(values)
    torch.testing.assert_close(sums, values @ plan.bank, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(plan.bands.spread(sums), sums @ plan.spread, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", OUT_OF_ORDER)
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 37])
def test_their_rows_are_the_same_among_any_others(name: str, rows: int) -> None:
    bands = build_plan(config_of(OUT_OF_ORDER[name]), CPU).bands
    values = torch.rand(rows, bands.count, generator=torch.Generator().manual_seed(1))
    sums = bands.sums(values)
    back = bands.spread(sums)
    for k in range(rows):
        assert torch.equal(bands.sums(values[k : k + 1])[0], sums[k])
        assert torch.equal(bands.spread(sums[k : k + 1])[0], back[k])


def test_a_bank_without_any_band_gives_nothing() -> None:
    nothing = np.zeros((16, 33))
    bands = make_bands(nothing, nothing, CPU, torch.float32)
    values = torch.ones(2, bands.count)
    assert not bands.sums(values).any()
    assert not bands.spread(torch.ones(2, 16)).any()
