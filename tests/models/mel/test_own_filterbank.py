"""A filterbank of one's own: what is taken, what it is called, and that nobody keeps it."""

from __future__ import annotations

import gc
import hashlib
import json
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.banks import HIFIGAN, IN_ORDER, MELS, OUT_OF_ORDER, config_of, gammatone
from unmel.models.engine.analysis import Analysis
from unmel.models.engine.items import Item
from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.mismatch import scale_warning
from unmel.models.mel.own_filterbank import MAX_WEIGHTS, OwnFilterbank, is_banded
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.statistics import full_scale_level
from unmel.models.mel.validate import check_mel
from unmel.models.methods.recipe import resolve
from unmel.models.signal.plan import build_plan


def test_the_digest_is_of_the_sizes_and_the_weights_in_float64() -> None:
    single = MELS.astype(np.float32)
    weights = b"80x513\n" + single.astype("<f8").tobytes()
    digest = "sha256:" + hashlib.sha256(weights).hexdigest()
    torchs = torch.from_numpy(single)
    for same in (single, np.asfortranarray(single), single.astype(">f8"), single.tolist(), torchs):
        assert OwnFilterbank.of(same).digest == digest
    assert OwnFilterbank(MELS).digest != digest
    assert OwnFilterbank(single.reshape(40, 1026)).digest != digest


def test_configs_are_equal_where_their_weights_are_and_go_between_processes() -> None:
    one, same, other = config_of(MELS), config_of(MELS.copy()), config_of(MELS * 2)
    assert one == same != other
    assert hash(one) == hash(same)
    again = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    assert again == one
    assert MelConfig(**one.model_dump(exclude_unset=True)) == one
    assert json.loads(one.model_dump_json())["filterbank"] == OwnFilterbank(MELS).digest
    for config in (one, again):
        assert not filterbank(config).flags.writeable


def test_it_is_a_copy_that_cannot_be_altered() -> None:
    given = MELS.copy()
    config = config_of(given)
    given[:] = 0.0
    assert np.array_equal(filterbank(config), MELS)
    with pytest.raises(AttributeError):
        config.filterbank.values = given  # type: ignore[union-attr,misc]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (MELS[:79], "got an array 79x513; expected [n_mels, n_fft/2 + 1], here 80x513"),
        (MELS.T, "got an array 513x80"),
        (MELS[None], "not 1x80x513"),
        (np.where(MELS.max() == MELS, np.nan, MELS), "not nan in band 10, bin 19"),
        (np.where(MELS.max() == MELS, np.inf, MELS), "not inf in band 10, bin 19"),
        (np.where(MELS.max() == MELS, -1e-9, MELS), "not -1e-09 in band 10, bin 19"),
        (MELS * 1e8, "a sum of at most 1e+06"),
        (np.cos(np.pi * np.arange(80)[:, None] * np.linspace(0, 1, 513)), "in band 1"),  # a DCT
        (MELS * 0, "at least one weight"),
        (MELS > 0, "of bool"),
        (MELS.astype(complex), "of complex128"),
        (np.zeros((1024, 8193)), f"at most {MAX_WEIGHTS} weights"),
        ([[1.0, 2.0], [3.0]], "not lists of other forms"),
        ([["a"]], "real numbers"),
        ("librosa", "an array"),
        ({"data": ""}, "an array"),
    ],
)
def test_what_is_no_filterbank_of_the_config_is_refused_by_its_name(given: Any, said: str) -> None:
    kept = config_of(MELS).model_dump(exclude_unset=True)
    with pytest.raises(ValidationError) as refused:
        MelConfig(**{**kept, "filterbank": given})
    fault = refused.value.errors()[0]
    assert fault["loc"] == ("filterbank",)
    assert said in fault["msg"]


@pytest.mark.parametrize(
    "beside",
    [
        {"fmin": 0.0},
        {"fmax": 8000.0},
        {"mel_scale": "htk"},
        {"norm": None},
        {"triangles": "mel"},
        {"filterbank_rate": 16_000},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_what_it_determines_is_refused_beside_it(beside: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        config_of(MELS, **beside)
    assert refused.value.errors()[0]["loc"] == tuple(beside)


@pytest.mark.parametrize("name", IN_ORDER)
def test_rising_runs_of_bins_have_the_octaves_of_their_lengths(name: str) -> None:
    assert config_of(IN_ORDER[name]).octaves == HIFIGAN.octaves


@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_other_banks_have_none(name: str) -> None:
    assert config_of(OUT_OF_ORDER[name]).octaves == 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_presets_bands_are_rising_runs(name: str) -> None:
    assert is_banded(filterbank(PRESETS[name].config))


def test_the_octave_below_has_the_lower_half_of_the_bank_and_no_whole_one() -> None:
    below = build_plan(config_of(MELS), torch.device("cpu")).below
    assert below is not None
    assert below.config.filterbank is None
    assert below.config.n_mels < 80


@pytest.mark.parametrize("bank", [MELS, OUT_OF_ORDER["shuffled"]], ids=["rising", "shuffled"])
def test_minus_infinity_is_the_silence_of_the_config_too(bank: np.ndarray) -> None:
    mel = np.full((80, 3), -4.0)
    mel[5, 1] = -np.inf
    assert check_mel(config_of(bank), mel).values[1, 5] == np.float32(np.log(1e-5))


def test_a_full_scale_constant_is_no_louder_than_the_levels_bound() -> None:
    config = config_of(gammatone(64))
    flat = np.full(HIFIGAN.n_bins, config.loudest_magnitude)
    assert (filterbank(config) @ flat).max() == pytest.approx(full_scale_level(config))


def test_what_outlives_a_request_does_not_keep_its_filterbank() -> None:
    config = config_of(np.random.default_rng(0).random((80, 513)))
    assert config.filterbank is not None
    weights = weakref.ref(config.filterbank.values)
    mel = np.random.default_rng(1).uniform(-1.0, 1.0, (80, 100)).astype(np.float32)
    values = check_mel(config, mel).values
    assert scale_warning(config, values) is not None
    item = Item(values, config, resolve(1), 1024)
    kept = item.speed_key, Analysis(np.zeros(2048, np.float32), config).speed_key
    del config, item
    gc.collect()
    assert weights() is None
    assert kept[0] != Item(values, HIFIGAN, resolve(1), 1024).speed_key
