"""A GPU's loops without a GPU: interpreted they do what torch does, and they can be compiled."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from tests.models.backends.test_twin_of_consistent import (
    CONFIGS,
    TOLERANCE,
    apart,
    clips,
    written_out,
)
from tests.signals import voice
from unmel.models.backends.base import Backend, Islands, StepCoefficients
from unmel.models.backends.cpu.compiled import LOOPS
from unmel.models.backends.reference import REFERENCE
from unmel.models.engine import prove as prove_module
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.prove import DeviceLoops, Disagreement, prove
from unmel.models.engine.streams import Options, Stream, advance
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.joint.mel_step import MelIteration
from unmel.models.methods.start.random_phases import frame_keys, step_of
from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.plan import build_plan

CPU = torch.device("cpu")
TRITON = importlib.util.find_spec("triton") is not None
REQUIRED = os.environ.get("UNMEL_TEST_TRITON") == "required"
needs_triton = pytest.mark.skipif(not TRITON and not REQUIRED, reason="needs Triton: make triton")
CUDA_ROOM = "unmel.models.backends.cuda"
pytestmark = [
    pytest.mark.skipif(
        torch.cuda.is_available(),
        reason="with a GPU test_cuda.py runs them on it",
    ),
    pytest.mark.loops,
    pytest.mark.slow,
]


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith(CUDA_ROOM)]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Backend]:
    """A GPU's loops on this machine's CPU: Triton asks for the variable when one is defined."""
    _forget()
    importlib.import_module("triton.experimental.gluon")  # cannot be loaded while it interprets
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        module = importlib.import_module(f"{CUDA_ROOM}.backend")
        backend: Backend = module.TritonBackend(LOOPS.wait())
        yield backend
    finally:
        os.environ.pop("TRITON_INTERPRET", None)
        _forget()


@needs_triton
def test_interpreted_loops_agree_with_torchs(interpreted: Backend) -> None:
    prove(interpreted, CPU, n_iter=2)


@needs_triton
@pytest.mark.parametrize(
    "what",
    ["spectrum", "overlap_add", "restore_edges", "run_stage", "filtered", "comb", "draw"],
)
def test_a_loop_that_is_wrong_is_found_out(
    interpreted: Backend, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    wrong = {
        "spectrum": lambda *given: torch.zeros(
            given[1].stop - given[1].start, given[0].n_fft // 2 + 1, dtype=torch.complex64
        ),
        "filtered": lambda *given: torch.zeros_like(given[0].signal),
    }
    monkeypatch.setattr(interpreted, what, wrong.get(what, lambda *_: None))
    with pytest.raises(Disagreement, match="of the largest sample"):
        prove(interpreted, CPU, n_iter=2)


@needs_triton
@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80"])
def test_a_step_of_a_preset_agrees_with_torchs(interpreted: Backend, name: str) -> None:
    plan = build_plan(PRESETS[name].config, CPU)
    found = []
    step = StepCoefficients(1.7, 0.4, 0.6, 1.3, 0.9, 0.4)
    for backend in (interpreted, REFERENCE):
        generator = torch.Generator().manual_seed(3)
        pack = PackedStft(plan, [(5, plan.config.samples(5))], backend)
        aim = torch.rand(pack.rows, len(plan.alive), generator=generator) * plan.alive
        target = backend.mel_target(aim, aim < 0.2)
        iteration = MelIteration(pack, target)
        shape = pack.used, plan.config.n_bins
        parts = torch.rand(2, *shape, generator=generator)
        spectrum = torch.complex(parts[0], parts[1])
        iteration.begin(slice(0, pack.used), spectrum, 0.4)
        if backend is REFERENCE:
            REFERENCE.apply_mel_step(iteration.state, 0, spectrum, step)
        else:
            kernel = importlib.import_module(f"{CUDA_ROOM}.mel_step")
            own = kernel.space(pack.used, plan.bands, aim)
            numbers = torch.tensor([[0.0] * 8, [*step, 0.0, 0.0]])
            counter = torch.ones(1, dtype=torch.int32)
            kernel.apply(iteration.state, spectrum, own, numbers, counter)
        found.append((spectrum, iteration.state.momentum[: pack.used]))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-6)


def noise_in_a_pack(hop: int, win: int, backend: Backend) -> tuple[PackedStft, torch.Generator]:
    """Clips of one frame, of a few and of many, without a silent sample."""
    config = MelConfig(
        sample_rate=16000, n_fft=1024, hop_length=hop, win_length=win, n_mels=20, scale="ln"
    )
    clips = [(frames, config.samples(frames)) for frames in (1, 3, 14, 2, 1)]
    pack = PackedStft(build_plan(config, CPU), clips, backend)
    generator = torch.Generator().manual_seed(hop)
    pack.signal.copy_(torch.rand(pack.signal.numel(), generator=generator) - 0.5)
    return pack, generator


HOPS = [(64, 256), (100, 512), (150, 301), (160, 400), (256, 1024), (480, 960)]


@needs_triton
@pytest.mark.parametrize(
    ("hop", "win", "half"), [*((*sizes, 7) for sizes in HOPS), (16, 32, 40), (160, 400, 0)]
)
def test_a_filter_agrees_with_torchs_to_the_last_sample_of_the_pack(
    interpreted: Backend, hop: int, win: int, half: int
) -> None:
    found = []
    for backend in (interpreted, REFERENCE):
        pack, generator = noise_in_a_pack(hop, win, backend)
        taps = torch.rand(half + 1, generator=generator) / (half + 1)
        before = pack.signal.clone()
        found.append(backend.filtered(pack, torch.cat([taps[1:].flip(0), taps]).numpy()))
        assert torch.equal(pack.signal, before)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@needs_triton
@pytest.mark.parametrize(("hop", "win"), HOPS)
@pytest.mark.parametrize("spread", [3.0, 800.0])
def test_a_comb_agrees_with_torchs(interpreted: Backend, hop: int, win: int, spread: float) -> None:
    """Steady periods and those that jump, some longer than their clip."""
    found = []
    for backend in (interpreted, REFERENCE):
        pack, generator = noise_in_a_pack(hop, win, backend)
        drawn = torch.rand(3, pack.rows, generator=generator)
        shares = torch.where(drawn[2] < 0.4, 0.0, drawn[1])
        band = torch.rand(pack.signal.numel(), generator=generator) - 0.5
        backend.comb(pack, band, 12.5 + spread * drawn[0], shares)
        found.append(pack.signal)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-4)


@needs_triton
@pytest.mark.parametrize(
    "name",
    [
        *("hifigan-22k", "audioldm-16k", "pwg-24k", "whisper-80", "torchaudio", "styletts2-24k"),
        *("shuffled-bands", "wide-bands-of-powers"),  # torch's products in place of a loop
        *("power-0.5", "power-1.3", "power-1.7"),
        *("no-padding", "python-speech-features"),
    ],
)
def test_a_run_gives_the_samples_of_the_method_written_out(
    interpreted: Backend, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    engine, clip = Engine(), clips(CONFIGS[name], n_iter=1)[2]
    engine.chosen = interpreted
    assert apart(engine.run([clip])[0].values, written_out(clip)) < TOLERANCE


@needs_triton
@pytest.mark.parametrize("width", [1, 257, 513, 1025])
def test_random_phases_have_the_bits_of_torchs(interpreted: Backend, width: int) -> None:
    keys = torch.from_numpy(frame_keys(5, range(4)))
    keys[2] = 0
    ours, torchs = torch.full((2, 4, width), 7.0)
    for backend, out in ((interpreted, ours), (REFERENCE, torchs)):
        backend.draw(keys, step_of(0.45), out)
    assert torch.equal(ours, torchs)


@needs_triton
def test_a_block_that_is_not_the_whole_pack_is_refused(interpreted: Backend) -> None:
    config = PRESETS["hifigan-22k"].config
    pack = PackedStft(build_plan(config, CPU), [(5, config.samples(5))], interpreted)
    with pytest.raises(ValueError, match="one block"):
        pack.add(slice(3, 5), torch.zeros(2, config.n_bins, dtype=torch.complex64))


@needs_triton
def test_streams_of_a_device_are_those_of_torch(interpreted: Backend) -> None:
    config = PRESETS["hifigan-22k"].config
    engine = Engine(backend="torch")
    mel = np.ascontiguousarray(analyze(engine.plans.get(config), voice(0.2)).T)
    heard = []
    for loops in (interpreted, REFERENCE):
        streams = [Stream(engine.plans.get(config), Options("draft", 2, seed)) for seed in (1, 2)]
        parts: list[np.ndarray] = []
        for count in (4, 6):  # the first step of both, and one that goes on
            for stream in streams:
                stream.feed(mel[:count])
            steps = [stream.step for stream in streams if stream.step is not None]
            parts.extend(advance(loops, [dataclasses.replace(s, n_iter=1) for s in steps]))
        heard.append(np.concatenate(parts))
    assert len(heard[0]) > 0
    np.testing.assert_allclose(heard[0], heard[1], atol=1e-3 * np.abs(heard[1]).max())


_FLOATS, _PLACES, _NUMBER, _COUNT = "*fp32", "*i64", "fp32", "i32"
_PAIRS, _NARROW = "*i64", "*i32"
_STEP: dict[str, str | int] = {
    "here": _PAIRS,
    "past": _PAIRS,
    "bound": "*u8",
    **dict.fromkeys(["begins", "longest", "below", "counter"], _NARROW),
    "power": _NUMBER,
    "some_bands": 32,
    "bins": 256,
    "more": 128,
    "zeros": 128,
}
_TILE: dict[str, str | int] = {"some_rows": 4, "columns": 256}
_MOVE: dict[str, str | int] = {"block": 1024, "targets": _PLACES, "sources": _PLACES}
# Of each kernel's arguments the types that its caller gives.
SIGNATURES: dict[str, dict[str, str | int]] = {
    "frames._frame": _TILE | {"counter": _NARROW},
    "frames._overlap_add": _TILE | {"level": _NUMBER},
    "frames._move": _MOVE | {"gathered": 1},
    "frames._move of other values": _MOVE | {"gathered": 0},
    "mel_step._step": _STEP | {"kind": 2},
    "mel_step._step of magnitudes": _STEP | {"kind": 1},
    "mel_step._step of any power": _STEP | {"kind": 0},
    "comb._filtered": {"block": 128, "clip_rows": _PLACES},
    "comb._comb": {"block": 128, "clip_rows": _PLACES},
    "phases._draw": {"block": 1024, "keys": "*i32", "step": _NUMBER},
}
_COUNTS = [
    *("first", "hop", "win", "width", "rows", "overlap", "count", "bands", "all_bands", "low"),
    *("used", "half", "middle"),
]


@needs_triton
def test_every_kernel_is_named_here(interpreted: Backend) -> None:
    modules = [f"{CUDA_ROOM}.{name}" for name in ("comb", "frames", "mel_step", "phases")]
    kernels = {
        f"{module.rpartition('.')[2]}.{name}"
        for module in modules
        for name, value in vars(importlib.import_module(module)).items()
        if hasattr(value, "arg_names")
    }
    assert kernels == {name.partition(" ")[0] for name in SIGNATURES} | {
        "mel_step._pair",
        "mel_step._put_pair",
        "comb._clip",
        "comb._at",
        "comb._between",
        "mel_step._beyond",
        "mel_step._weighted",
        "mel_step._band_factors",
        "mel_step._correct",
        "mel_step._raised",
    }  # parts of the others


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", SIGNATURES)
def test_every_kernel_compiles_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, capability: int
) -> None:
    """To machine code, which needs no GPU: an A100's and an H100's."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # newer ones warn where it is not said
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    _forget()
    module, _, function = name.partition(" ")[0].partition(".")
    kernel = getattr(importlib.import_module(f"{CUDA_ROOM}.{module}"), function)
    compiler = importlib.import_module("triton.compiler")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", capability, 32)
    types = dict.fromkeys(kernel.arg_names, _FLOATS) | dict.fromkeys(_COUNTS, _COUNT)
    types |= {key: "constexpr" if isinstance(v, int) else v for key, v in SIGNATURES[name].items()}
    constants = {key: value for key, value in SIGNATURES[name].items() if isinstance(value, int)}
    signature = {key: types[key] for key in kernel.arg_names}
    source = compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants)
    assert compiler.compile(source, target=target).asm["cubin"].startswith(b"\x7fELF")
    _forget()


@needs_triton
def test_the_sizes_of_the_mel_step_are_powers_of_two_for_any_number_of_bins() -> None:
    sizes = importlib.import_module(f"{CUDA_ROOM}.mel_step").sizes
    for count in range(1, 2**13 + 2):
        bins, more, warps = sizes(count)
        assert all(n.bit_count() == 1 for n in (bins, more, warps))
        assert bins <= count <= bins + more


@needs_triton
def test_a_heap_is_the_hosts_work(interpreted: Backend) -> None:
    found = []
    for grow in (interpreted.grow_islands, REFERENCE.grow_islands):
        loud = -np.pad(np.arange(1.0, 7.0).reshape(2, 3), 1).ravel()
        todo, phase = np.pad(np.ones((2, 3), bool), 1).ravel(), np.zeros(20)
        order = np.flatnonzero(todo)[np.argsort(loud[todo], kind="stable")]
        slopes = np.full(20, 0.3), np.full(20, 0.2)
        grow(Islands(order, loud, *slopes, todo, phase, 5))
        found.append(phase)
    assert np.array_equal(*found)
    assert found[0].any()


def test_loops_that_cannot_be_compiled_leave_torchs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> ModuleType:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(prove_module, "import_module", missing)
    loops = DeviceLoops()
    assert loops.wait(CPU) is None
    assert loops.wait(CPU) is None
    assert [record.getMessage() for record in caplog.records] == [
        "Triton's kernels are not available"
    ]


def test_loops_are_ready_once_they_are_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    proved, backend = [], object()
    monkeypatch.setattr(
        prove_module,
        "import_module",
        lambda _: SimpleNamespace(TritonBackend=lambda _: backend),
    )
    monkeypatch.setattr(prove_module, "prove", lambda *given: proved.append(given))
    loops = DeviceLoops()
    assert loops.wait(CPU) is loops.wait(CPU) is backend
    assert proved == [(backend, CPU)]
