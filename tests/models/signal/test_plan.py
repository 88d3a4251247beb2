"""Plans and their cache: computed once, bounded in bytes, thread-safe."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import Array, filterbank
from unmel.models.signal import plan as plan_module
from unmel.models.signal.packed_stft import CPU_BLOCK
from unmel.models.signal.plan import PlanCache, build_plan

CPU = torch.device("cpu")


def config(n_mels: int) -> MelConfig:
    return MelConfig(sample_rate=16000, n_fft=256, hop_length=64, n_mels=n_mels, scale="ln")


def test_the_pseudo_inverse_inverts_a_well_posed_filterbank() -> None:
    plan = build_plan(config(8), CPU, torch.float64)
    bank = plan.bank.T
    assert torch.allclose(bank @ plan.pinv.T @ bank, bank, atol=1e-10)


def test_the_pseudo_inverse_is_computed_once_and_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = []
    compute = plan_module._pseudo_inverse

    def counting(bank: Array) -> Array:
        computed.append(1)
        return compute(bank)

    monkeypatch.setattr(plan_module, "_pseudo_inverse", counting)
    plan = build_plan(config(8), CPU)
    before = plan.nbytes
    assert computed == []
    with ThreadPoolExecutor(8) as pool:
        matrices = list(pool.map(lambda _: plan.pinv, range(8)))
    assert len(computed) == len(set(map(id, matrices))) == 1
    assert plan.nbytes == before  # its room was counted from the start
    others = (plan.window, plan.bank, plan.spread, plan.band_weight)
    assert plan.nbytes >= plan.pinv.nbytes + sum(t.nbytes for t in others)


def test_a_second_request_of_a_config_is_a_hit_and_the_same_plan() -> None:
    cache = PlanCache(CPU, 2**20)
    assert cache.get(config(8)) is cache.get(config(8))
    stats = cache.stats
    assert (stats.hits, stats.misses, stats.plans) == (1, 1, 1)
    assert stats.nbytes == build_plan(config(8), CPU).nbytes


def test_the_least_recently_used_plan_goes_when_the_bytes_run_out() -> None:
    size = max(build_plan(config(n), CPU).nbytes for n in (5, 6, 7, 8))  # nearly alike
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


def test_the_level_of_silence_follows_from_the_extractors_epsilon() -> None:
    made = config(8).model_copy(update={"magnitude_eps": 1e-6})
    expected = 1e-3 * filterbank(made).sum(axis=1)
    np.testing.assert_allclose(build_plan(made, CPU).silence.numpy()[:8], expected, rtol=1e-5)


@pytest.mark.parametrize("n_mels", [1, 3, 5, 7, 10, 11, 20, 80, 100])
@pytest.mark.parametrize("n_fft", [32, 40, 400, 1024])
def test_a_rows_product_has_the_same_bits_wherever_it_stands_in_a_block(
    n_mels: int, n_fft: int
) -> None:
    made = MelConfig(
        sample_rate=16000, n_fft=n_fft, hop_length=n_fft // 4, n_mels=n_mels, scale="ln"
    )
    plan = build_plan(made, CPU)
    draw = torch.Generator().manual_seed(0)
    for matrix in (plan.bank, plan.spread, plan.pinv):
        rows = torch.rand(CPU_BLOCK, matrix.shape[0], generator=draw)
        whole = torch.mm(rows, matrix)
        for turn in (1, 7, 30, 63):
            assert torch.equal(torch.mm(rows.roll(turn, 0), matrix).roll(-turn, 0), whole)


def test_a_plan_that_is_kept_is_counted_once_however_threads_meet() -> None:
    """Threads that ask for few configs in a cache with room for one: the bytes stay those held."""
    size = build_plan(config(8), CPU).nbytes
    cache = PlanCache(CPU, int(1.5 * size))
    gate = threading.Barrier(8)

    def ask(n: int) -> None:
        gate.wait()
        for k in range(30):
            cache.get(config(8 - (n + k) % 3))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    stats = cache.stats
    held = sum(plan.nbytes for plan in cache._plans.values())
    assert stats.nbytes == held <= 1.5 * size
    assert stats.plans == 1
    assert stats.hits + stats.misses == 240
    assert 0 < stats.evictions < stats.misses
