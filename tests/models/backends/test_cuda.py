"""Every method on CUDA: nothing left behind on the CPU, the same result, the same bytes again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.banks import OUT_OF_ORDER, config_of
from tests.models.pretend import CUDA, DeviceMismatch, PretendedCuda
from tests.signals import voice
from unmel.models.engine.analysis import Analysis, analyze
from unmel.models.engine.engine import Engine
from unmel.models.engine.items import Item
from unmel.models.engine.prove import DEVICE_LOOPS
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import GIVEN, resolve
from unmel.models.methods.start.starts import STARTS

pytestmark = pytest.mark.loops

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none here"
)
CPU = Engine()


def on_cuda() -> Engine:
    """With the loops that it will have for good: results may change a bit when they are there."""
    engine = Engine("cuda")
    engine.load()
    return engine


ROWS = [
    *({"method": name} for name in JOINT),
    *({"inversion": name} for name in INVERSIONS),
    *({"inversion": "pinv", "phase": name} for name in PHASES),
    {"phase": "difference_map", "params": {"beta": 1.0}},
    *({"phase": "griffin_lim", "start": name} for name in STARTS),
    {"phase": "griffin_lim", "start": GIVEN},
]
NAMES = ["hifigan-22k", "torchaudio", "librosa"]  # magnitudes with floors, powers, empty bands
# Steps after which rounding has not spread yet.
FEW = 3


def name_of(row: dict[str, object]) -> str:
    return "+".join(map(str, row.values()))


def items(name: str, row: dict[str, object], n_iter: int = FEW, count: int = 2) -> list[Item]:
    """Clips of different lengths, the first asked for its audio, the second for its STFT too."""
    config = PRESETS[name].config
    row = dict(row)
    if row.get("start") == "pghi" and config.win_length < 4 * config.hop_length:
        row["start"] = "spsi"
    recipe = resolve(config.power, n_iter=n_iter, **row)  # type: ignore[arg-type] # names of options
    made = []
    for k in range(count):
        wave = voice(0.2 + 0.1 * k, config.sample_rate, k)
        mel = np.ascontiguousarray(analyze(CPU.plans.get(config), wave).T)
        shape = len(mel), config.n_bins
        phases = np.random.default_rng(k).random(shape).astype(np.float32)
        outputs = "audio", "stft", "magnitude"
        samples = config.samples(len(mel))
        made.append(Item(mel, config, recipe, samples, k, outputs[k % 3], phases))
    return made


def agree(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 3e-3) -> bool:
    """Rounding alone between them: 50 dB below the signal."""
    return bool(np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs))


# A frame begins with the phases of the frame before, or a comparison decides a step's length: what
# rounding does there grows from frame to frame.
SENSITIVE = {"rtisi_la", "lbfgs"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "name"),
    [*((row, "torchaudio") for row in ROWS), *(({}, name) for name in ("hifigan-22k", "librosa"))],
    ids=str,
)
def test_on_a_pretended_device_nothing_meets_what_stayed_on_the_cpu(
    row: dict[str, object], name: str
) -> None:
    clips = items(name, row, count=3)
    with PretendedCuda():
        results = Engine("cuda", backend="torch").run(clips)
    for result, expected in zip(results, CPU.run(clips), strict=True):
        assert agree(result.values, expected.values)


@pytest.mark.slow
def test_bands_out_of_order_do_not_meet_the_cpu_either() -> None:
    config = config_of(OUT_OF_ORDER["wide"])
    wave = voice(0.3, config.sample_rate)
    mel = np.ascontiguousarray(analyze(CPU.plans.get(config), wave).T)
    clip = Item(mel, config, resolve(1, octaves=0, n_iter=2), config.samples(len(mel)))
    with PretendedCuda():
        [result] = Engine("cuda", backend="torch").run([clip])
    assert agree(result.values, CPU.run([clip])[0].values)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hifigan-22k", "torchaudio", "librosa", "styletts2-24k"])
def test_a_plan_and_a_mel_are_made_on_a_pretended_device(name: str) -> None:
    config = PRESETS[name].config
    wave = voice(0.3, config.sample_rate)
    with PretendedCuda():
        engine = Engine("cuda", backend="torch")
        assert engine.plans.get(config).device == CUDA
        [result] = engine.run([Analysis(wave, config)])
    np.testing.assert_allclose(
        result.values, CPU.run([Analysis(wave, config)])[0].values, atol=1e-3
    )


def test_the_pretended_device_notices() -> None:
    with PretendedCuda():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert (here.device.type, there.device.type) == ("cpu", "cuda")
        assert (there * 2).device == CUDA
        assert there.cpu().numpy().sum() == 3
        assert float(there.sum()) == 3
        there[:] = here
        for wrong in (
            lambda: here + there,
            there.numpy,
            lambda: there.index_put_((torch.tensor([0], device="cuda"),), here[:1]),
            lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
        ):
            with pytest.raises(DeviceMismatch):
                wrong()


@needs_cuda
def test_a_gpus_own_loops_are_compiled_and_proved_on_it() -> None:
    device = torch.device("cuda")
    assert on_cuda().backend is DEVICE_LOOPS.wait(device) is not None


@needs_cuda
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_cuda_agrees_with_the_cpu_before_chaos_sets_in(row: dict[str, object], name: str) -> None:
    clips = items(name, row, count=3)
    tolerance = 0.3 if SENSITIVE & set(map(str, row.values())) else 3e-3
    for result, expected in zip(on_cuda().run(clips), CPU.run(clips), strict=True):
        assert agree(result.values, expected.values, tolerance)


@needs_cuda
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_the_same_request_gives_the_same_bytes_again_on_cuda(row: dict[str, object]) -> None:
    clips = items("hifigan-22k", row, 30)
    engine = on_cuda()
    for first, again in zip(engine.run(clips), engine.run(clips), strict=True):
        assert np.array_equal(first.values, again.values)


@needs_cuda
@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_clip_has_the_same_bytes_alone_and_in_a_pack_on_cuda(row: dict[str, object]) -> None:
    """What is wished for and promised nowhere: a device where it fails says so here."""
    clips = items("hifigan-22k", row, 30)
    engine = on_cuda()
    for clip, together in zip(clips, engine.run(clips), strict=True):
        assert np.array_equal(engine.run([clip])[0].values, together.values)


@needs_cuda
def test_a_config_of_its_own_runs_on_cuda() -> None:
    config = MelConfig(sample_rate=16000, n_fft=512, hop_length=128, n_mels=23, scale="ln")
    wave = voice(0.3, 16000)
    there, here = (engine.run([Analysis(wave, config)])[0] for engine in (on_cuda(), CPU))
    np.testing.assert_allclose(there.values, here.values, atol=1e-3)
