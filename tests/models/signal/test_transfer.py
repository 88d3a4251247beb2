"""Between host and device: what goes up for a pack and comes down after it, and who waits."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.backends.test_cuda import CPU, ROWS, agree, items, name_of, needs_cuda
from tests.models.pretend import CUDA, Crossing, PretendedCuda, is_there
from unmel.models.engine.engine import Engine
from unmel.models.engine.streams import Options
from unmel.models.engine.work import Work
from unmel.models.mel.config import MAX_OCTAVES
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.signal.transfer import download, upload

pytestmark = [pytest.mark.loops, pytest.mark.slow]

# --- the copies themselves ----------------------------------------------------------------------

PARTS = [
    torch.arange(5, dtype=torch.float32),
    torch.tensor([[True], [False], [True]]),
    torch.zeros(0, 7, dtype=torch.int64),
    torch.arange(6, dtype=torch.int64).view(2, 3).T,
    torch.rand(2, 3, dtype=torch.float64),
]


def test_parts_of_any_shape_and_type_arrive_as_they_left_by_one_copy() -> None:
    with PretendedCuda() as cuda:
        there = upload(PARTS, CUDA)
        assert all(is_there(part) for part in there)
    assert cuda.crossings == [Crossing("up", waits=False)]
    for sent, came in zip(PARTS, there, strict=True):
        assert (came.dtype, came.shape) == (sent.dtype, sent.shape)
        assert torch.equal(sent, came)


def test_results_come_down_by_one_copy_and_hold_nothing_of_each_other() -> None:
    with PretendedCuda() as cuda:
        sent = [torch.rand(4), torch.rand(3, 2).T, torch.rand(2, 2, dtype=torch.complex64)]
        came = download([part.to(CUDA) for part in sent])
    assert cuda.crossings[3:] == [Crossing("down", waits=True)]
    for ours, theirs in zip(came, sent, strict=True):
        assert torch.equal(ours, theirs)
    assert len({part.untyped_storage().data_ptr() for part in came}) == 3


def test_on_a_cpu_nothing_is_copied() -> None:
    for moved in (upload(PARTS, torch.device("cpu")), download(PARTS)):
        assert all(ours is theirs for ours, theirs in zip(moved, PARTS, strict=True))
    assert upload([], CUDA) == download([]) == []


# --- packs --------------------------------------------------------------------------------------

# Those that decide by values on the way, or go over the magnitude on the CPU.
LOOKING = {"lbfgs", "gradient", "nnls", "pghi"}
QUIET = [row for row in ROWS if not LOOKING & set(map(str, row.values()))]
LOUD = [row for row in ROWS if row not in QUIET]


@functools.cache
def pretended_engine() -> Engine:
    """An engine whose plan is there, with what the inversions add to it."""
    with PretendedCuda():
        engine = Engine("cuda")
        for name in INVERSIONS:
            engine.run(items("hifigan-22k", {"inversion": name}, 1, 1))
    return engine


def crossings(work: Sequence[Work]) -> list[Crossing]:
    """What goes between the host and a pretended device for one call of its engine."""
    engine = pretended_engine()
    with PretendedCuda() as cuda:
        engine.run(work)
    return cuda.crossings


@pytest.mark.parametrize("row", QUIET, ids=name_of)
def test_a_pack_goes_up_without_a_wait_and_comes_down_at_once(row: dict[str, object]) -> None:
    """However many clips it has: its tables and its octaves', its targets and what its start
    brings go up, and the only wait is for the results.
    """
    alone, together = (crossings(items("hifigan-22k", row, 1, count)) for count in (1, 3))
    assert alone == together
    assert alone[-1] == Crossing("down", waits=True)
    assert set(alone[:-1]) == {Crossing("up", waits=False)}
    assert len(alone[:-1]) <= 4 + MAX_OCTAVES


def test_what_goes_up_for_the_default_method_is_tables_targets_and_phases() -> None:
    ways = [crossing.way for crossing in crossings(items("hifigan-22k", {}))]
    assert ways == [*["up"] * (3 + MAX_OCTAVES), "down"]


@pytest.mark.parametrize("row", LOUD, ids=name_of)
def test_methods_that_decide_on_the_way_wait_for_the_device(row: dict[str, object]) -> None:
    """Whoever makes one of them quiet moves it to the others."""
    found = crossings(items("hifigan-22k", row, 1, 1))
    assert sum(crossing.waits for crossing in found) > 1


def test_steps_of_streams_go_up_without_a_wait_and_come_down_at_once() -> None:
    config = PRESETS["hifigan-22k"].config
    mel = items("hifigan-22k", {}, count=1)[0].mel
    device, host = pretended_engine(), CPU
    with PretendedCuda() as cuda:
        streams = [device.stream(config, Options("draft", 2, seed)) for seed in (0, 1)]
        for stream in streams:
            stream.feed(mel)
    twins = [host.stream(config, Options("draft", 2, seed)) for seed in (0, 1)]
    for twin in twins:
        twin.feed(mel)
    for _ in range(3):
        cuda.crossings.clear()
        with cuda:
            found = device.run([step for stream in streams if (step := stream.step) is not None])
        expected = host.run([step for twin in twins if (step := twin.step) is not None])
        assert len(found) == len(expected) == 2
        for ours, theirs in zip(found, expected, strict=True):
            assert agree(ours.values, theirs.values)
        assert cuda.crossings[-1] == Crossing("down", waits=True)
        assert set(cuda.crossings[:-1]) == {Crossing("up", waits=False)}
        assert len(cuda.crossings) <= 6


def test_a_clip_in_blocks_comes_down_once() -> None:
    [long] = items("hifigan-22k", {}, 1, 1)
    long = dataclasses.replace(long, mel=np.tile(long.mel, (12, 1)), phases=None)
    long = dataclasses.replace(long, samples=long.config.samples(long.frames))
    limit = 120 * long.nbytes // long.rows
    with PretendedCuda() as cuda:
        engine = Engine("cuda", pack_bytes=limit)
        engine.plans.warm([long.config])
        engine.run([long])
        cuda.crossings.clear()
        [result] = engine.run([long])
    [expected] = Engine(pack_bytes=limit).run([long])
    assert agree(result.values, expected.values)
    waits = [crossing for crossing in cuda.crossings if crossing.waits]
    assert waits == [Crossing("down", waits=True)]


@needs_cuda
def test_a_pack_crosses_in_pinned_memory_alone_on_cuda() -> None:
    clips, engine = items("hifigan-22k", {}, count=3), Engine("cuda")
    engine.run(clips)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        engine.run(clips)
    names = [event.name for event in profile.events() or ()]
    assert Counter(name for name in names if "HtoD" in name or "DtoH" in name) == {
        "Memcpy HtoD (Pinned -> Device)": 3,
        "Memcpy DtoH (Device -> Pinned)": 1,
    }


# --- what counts them ---------------------------------------------------------------------------


class Pair(NamedTuple):
    """Ones on either side."""

    here: Tensor
    there: Tensor


CROSSINGS: list[tuple[Callable[[Pair], object], Crossing | None]] = [
    (lambda one: one.here.to("cuda"), Crossing("up", waits=True)),
    (lambda one: one.here.to("cuda", non_blocking=True), Crossing("up", waits=True)),
    (lambda one: one.there.copy_(one.here), Crossing("up", waits=True)),
    (lambda one: one.there.__setitem__(slice(2), one.here[:2]), Crossing("up", waits=True)),
    (lambda _: torch.tensor([1.0], device="cuda"), Crossing("up", waits=True)),
    (
        lambda _: torch.zeros(3, pin_memory=True).to("cuda", non_blocking=True),
        Crossing("up", waits=False),
    ),
    (lambda one: one.there.cpu(), Crossing("down", waits=True)),
    (lambda one: one.here.copy_(one.there), Crossing("down", waits=True)),
    (lambda one: float(one.there[0]), Crossing("look", waits=True)),
    (lambda one: bool((one.there > 0).all()), Crossing("look", waits=True)),
    (lambda one: one.there[one.there > 0], Crossing("look", waits=True)),
    (lambda one: one.there.copy_(one.there + 1), None),
    (lambda one: one.here.to("cpu") + float(one.here[0]), None),
    (lambda one: one.there.to("cuda") + torch.zeros(3, device="cuda"), None),
]


@pytest.mark.parametrize(("cross", "expected"), CROSSINGS)
def test_the_pretended_device_counts_what_crosses(
    cross: Callable[[Pair], object], expected: Crossing | None
) -> None:
    with PretendedCuda() as cuda:
        cross(Pair(torch.ones(3), torch.ones(3, device="cuda")))
    assert cuda.crossings == ([] if expected is None else [expected])
