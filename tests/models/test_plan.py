"""Plans and their cache: computed once, bounded in bytes, counted, safe between threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models import plan as plan_module
from models.config import MelConfig
from models.filterbank import filterbank
from models.plan import PlanCache, build_plan

CPU = torch.device("cpu")


def config(n_mels: int) -> MelConfig:
    return MelConfig(sample_rate=16000, n_fft=256, hop_length=64, n_mels=n_mels, scale="ln")


def test_the_pseudo_inverse_inverts_a_well_posed_filterbank() -> None:
    plan = build_plan(config(8), CPU, torch.float64)
    bank = torch.from_numpy(filterbank(config(8)))
    assert torch.allclose(bank @ plan.pinv.T @ bank, bank, atol=1e-10)


def test_a_second_request_of_a_config_is_a_hit_and_the_same_plan() -> None:
    cache = PlanCache(CPU, 2**20)
    assert cache.get(config(8)) is cache.get(config(8))
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.plans) == (1, 1, 1)
    assert stats.nbytes == build_plan(config(8), CPU).nbytes


def test_the_least_recently_used_plan_goes_when_the_bytes_run_out() -> None:
    size = build_plan(config(8), CPU).nbytes
    cache = PlanCache(CPU, 3 * size)
    a, b = config(8), config(7)
    cache.warm([a, b])
    cache.get(a)  # now b is the older one
    cache.warm([config(6), config(5)])
    before = cache.stats
    cache.get(a)
    assert cache.stats.hits == before.hits + 1
    cache.get(b)
    assert cache.stats.misses == before.misses + 1
    assert cache.stats.evictions >= 1
    assert cache.stats.nbytes <= 3 * size


def test_a_plan_larger_than_the_cache_is_handed_out_and_not_kept() -> None:
    cache = PlanCache(CPU, 10)
    assert cache.get(config(8)).config == config(8)
    assert cache.stats.plans == cache.stats.nbytes == 0


def test_threads_that_ask_at_once_share_one_build(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    gate = threading.Barrier(8)

    def counting(made: MelConfig, *args: object) -> object:
        built.append(made)
        return build_plan(made, *args)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(plan_module, "build_plan", counting)
    cache = PlanCache(CPU, 2**20)

    def ask(_: int) -> object:
        gate.wait()
        return cache.get(config(8))

    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(ask, range(8)))
    assert len(set(map(id, plans))) == 1
    assert len(built) == 1
    assert (cache.stats.hits, cache.stats.misses) == (7, 1)


def test_a_build_that_fails_leaves_the_cache_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PlanCache(CPU, 2**20)
    with monkeypatch.context() as patch:
        patch.setattr(plan_module, "build_plan", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache.get(config(8))
    assert cache.get(config(8)).config == config(8)


def test_what_silence_reads_as_follows_from_the_extractors_epsilon() -> None:
    made = config(8).model_copy(update={"magnitude_eps": 1e-6})
    expected = 1e-3 * filterbank(made).sum(axis=1)
    np.testing.assert_allclose(build_plan(made, CPU).silence.numpy(), expected, rtol=1e-5)
