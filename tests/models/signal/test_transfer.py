"""Copies between host and device for a pack, and the waits for them."""

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
from unmel.models.errors import NonFiniteOutput
from unmel.models.mel.config import MAX_OCTAVES
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.start.starts import STARTS
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan
from unmel.models.signal.targets import pack_targets
from unmel.models.signal.transfer import copied, download, received, upload

pytestmark = [pytest.mark.loops, pytest.mark.slow]

# --- the copies themselves ----------------------------------------------------------------------

PARTS = [
    torch.arange(5, dtype=torch.float32),
    torch.tensor([[True], [False], [True]]),
    torch.zeros(0, 7, dtype=torch.int64),
    torch.arange(6, dtype=torch.int64).view(2, 3).T,
    torch.rand(2, 3, dtype=torch.float64),
]


def test_tensors_of_any_shape_and_type_are_uploaded_by_one_copy() -> None:
    with PretendedCuda() as cuda:
        there = upload(PARTS, CUDA)
        assert all(is_there(part) for part in there)
    assert cuda.crossings == [Crossing("up", waits=False)]
    for sent, came in zip(PARTS, there, strict=True):
        assert (came.dtype, came.shape) == (sent.dtype, sent.shape)
        assert torch.equal(sent, came)


def test_results_are_downloaded_by_one_copy_and_share_no_memory() -> None:
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


def test_a_long_result_is_copied_whole_into_memory_of_its_own() -> None:
    values = np.arange(3 * 2**20 + 5, dtype=np.float32)
    found = copied(values)
    assert np.array_equal(found, values)
    assert not np.shares_memory(found, values)


# --- packs --------------------------------------------------------------------------------------

# Methods with a stopping rule, or with a part on the CPU.
WAITING_NAMES = {"lbfgs", "gradient", "nnls", "pghi"}
UPLOADS = 3 + MAX_OCTAVES  # the mels, tables of the pack and its octaves, keys of the phases
ASYNCHRONOUS = [row for row in ROWS if not WAITING_NAMES & set(map(str, row.values()))]
WAITING = [row for row in ROWS if row not in ASYNCHRONOUS]


@functools.cache
def pretended_engine() -> Engine:
    """An engine with a plan in its cache, and all that is made at a first use."""
    with PretendedCuda():
        engine = Engine("cuda", backend="torch")
        for name in INVERSIONS:
            engine.run(items("hifigan-22k", {"inversion": name}, 1, 1))
        engine.run(items("hifigan-22k", {}, 1, 1))
        stream = engine.stream(PRESETS["hifigan-22k"].config, Options("draft", 2))
        stream.feed(items("hifigan-22k", {}, count=1)[0].mel)
        for _ in range(2):
            engine.run([stream.step] if stream.step is not None else [])
    return engine


def crossings(work: Sequence[Work]) -> list[Crossing]:
    """Copies between the host and a pretended device in one call of its engine."""
    engine = pretended_engine()
    with PretendedCuda() as cuda:
        engine.run(work)
    return cuda.crossings


@pytest.mark.parametrize("row", ASYNCHRONOUS, ids=name_of)
def test_a_pack_is_uploaded_without_waiting_and_downloaded_once(row: dict[str, object]) -> None:
    """As many copies for any number of clips, and no wait but for the results."""
    alone, together = (crossings(items("hifigan-22k", row, 1, count)) for count in (1, 3))
    assert alone == together
    assert alone[-1] == Crossing("down", waits=True)
    assert set(alone[:-1]) == {Crossing("up", waits=False)}
    assert len(alone[:-1]) <= 4 + MAX_OCTAVES


def test_the_default_method_uploads_tables_targets_and_phases() -> None:
    directions = [crossing.way for crossing in crossings(items("hifigan-22k", {}))]
    assert directions == [*["up"] * UPLOADS, "down"]


@pytest.mark.parametrize("k", [0, 1])
def test_a_device_looks_itself_for_samples_that_are_not_finite(k: int) -> None:
    clips = items("hifigan-22k", {}, 1)
    clips = [dataclasses.replace(clip, output="audio") for clip in clips]
    clips[k].mel[:] = np.nan  # what check_mel keeps away from here
    with PretendedCuda() as cuda, pytest.raises(NonFiniteOutput):
        pretended_engine().run(clips)
    assert [crossing for crossing in cuda.crossings if crossing.waits] == [
        Crossing("down", waits=True)
    ]


LEVELS = ["hifigan-22k", "nemo-22k", "whisper-80", "librosa", "torchaudio", "coqui-22k"]


@pytest.mark.parametrize("name", LEVELS)
def test_a_device_makes_the_targets_of_a_pack_as_the_host_does(name: str) -> None:
    """Of clips of any levels and lengths: loud, faint and silent ones, whatever stands between."""
    config, rng = PRESETS[name].config, np.random.default_rng(0)
    sizes, levels = [7, 1, 30, 2], [1.0, 1e-3, 0.0, 300.0]
    mels = [
        config.compress(
            torch.from_numpy(level * rng.random((t, config.n_mels), np.float32))
        ).numpy()
        for t, level in zip(sizes, levels, strict=True)
    ]
    clips = [(t, config.samples(t)) for t in sizes]
    made = []
    for device in ("cpu", "cuda"):
        with PretendedCuda() as cuda:
            pack = PackedStft(build_plan(config, torch.device(device)), clips)
            cuda.crossings.clear()
            targets = pack_targets(pack, mels)
            crossed = list(cuda.crossings)
            found = (t.cpu()[: pack.used] for t in (targets.mel, targets.bound, targets.gain))
            made.append(list(found))
    assert crossed == [Crossing("up", waits=False)]
    (mel, bound, gain), (other_mel, other_bound, other_gain) = made
    assert torch.equal(gain, other_gain)
    assert torch.equal(bound, other_bound)
    assert torch.allclose(mel, other_mel, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("row", WAITING, ids=name_of)
def test_methods_with_a_stopping_rule_wait_for_the_device(row: dict[str, object]) -> None:
    """A method that no longer waits belongs into the other list."""
    found = crossings(items("hifigan-22k", row, 1, 1))
    assert sum(crossing.waits for crossing in found) > 1


def test_stream_steps_are_uploaded_without_waiting_and_downloaded_once() -> None:
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
        assert len(cuda.crossings) == 3


def test_a_stream_step_takes_as_many_operations_for_any_number_of_sessions() -> None:
    config = PRESETS["hifigan-22k"].config
    mel = items("hifigan-22k", {}, count=1)[0].mel[:6]
    engine, taken = pretended_engine(), []
    for count in (2, 3):
        with PretendedCuda() as cuda:
            streams = [engine.stream(config, Options("draft", 2, seed)) for seed in range(count)]
            for k, stream in enumerate(streams):
                stream.feed(mel - 0.5 * k)
                stream.end()
            costs = []
            while steps := [step for stream in streams if (step := stream.step) is not None]:
                cuda.crossings.clear()
                before = cuda.calls
                engine.run(steps)
                costs.append((cuda.calls - before, list(cuda.crossings)))
        assert [stream.samples for stream in streams] == [config.samples(6)] * count
        taken.append(costs)
    few, more = taken
    assert len(few) >= 3  # a first step, one that goes on, a last one
    assert few == more
    assert {tuple(crossed) for _, crossed in few} == {
        (Crossing("up", waits=False), Crossing("up", waits=False), Crossing("down", waits=True))
    }


def test_a_clip_in_blocks_is_downloaded_once() -> None:
    [long] = items("hifigan-22k", {}, 1, 1)
    long = dataclasses.replace(long, mel=np.tile(long.mel, (12, 1)), phases=None)
    long = dataclasses.replace(long, samples=long.config.samples(long.frames))
    limit = 120 * long.nbytes // long.rows
    with PretendedCuda() as cuda:
        engine = Engine("cuda", backend="torch")
        engine.pack_bytes = limit
        engine.plans.warm([long.config])
        engine.run([long])
        cuda.crossings.clear()
        [result] = engine.run([long])
    [expected] = Engine(pack_bytes=limit).run([long])
    assert agree(result.values, expected.values)
    waits = [crossing for crossing in cuda.crossings if crossing.waits]
    assert waits == [Crossing("down", waits=True)]


@needs_cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")  # and said so once
@pytest.mark.parametrize("row", ASYNCHRONOUS, ids=name_of)
def test_nothing_waits_between_upload_and_download_on_cuda(
    monkeypatch: pytest.MonkeyPatch, row: dict[str, object]
) -> None:
    def unwatched(parts: Sequence[Tensor]) -> list[Tensor]:
        torch.cuda.set_sync_debug_mode("default")
        return received(parts)

    monkeypatch.setattr("unmel.models.engine.items.received", unwatched)
    engine, clips = Engine("cuda"), items("hifigan-22k", row, count=3)
    engine.run(clips)  # what is made once for a config may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        engine.run(clips)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_method_that_the_host_takes_part_in_says_so() -> None:
    tables = ({**JOINT, **STARTS}, INVERSIONS, PHASES)
    told = {name for table in tables for name, method in table.items() if method.host}
    assert told == WAITING_NAMES | {"spsi", "rtisi_la"}  # which launch their frames one by one


@needs_cuda
@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # one cycle is all there is
def test_a_pack_crosses_in_pinned_memory_alone_on_cuda() -> None:
    clips, engine = items("hifigan-22k", {}, count=3), Engine("cuda")
    engine.run(clips)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        engine.run(clips)
    names = [event.name for event in profile.events() or ()]
    assert Counter(name for name in names if "HtoD" in name or "DtoH" in name) == {
        "Memcpy HtoD (Pinned -> Device)": UPLOADS,
        "Memcpy DtoH (Device -> Pinned)": 1,
    }


# --- the counter itself ---------------------------------------------------------------------------


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
def test_the_pretended_device_counts_copies(
    cross: Callable[[Pair], object], expected: Crossing | None
) -> None:
    with PretendedCuda() as cuda:
        cross(Pair(torch.ones(3), torch.ones(3, device="cuda")))
    assert cuda.crossings == ([] if expected is None else [expected])
