"""`invert`: arrays of numpy and torch, one or many, and the options that the service has."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch

import unmel
from tests.root import ROOT
from tests.signals import speech
from unmel.models.engine import Engine, Item, shared, shared_engines
from unmel.models.engine.analysis import analyze
from unmel.models.errors import Invalid
from unmel.models.mel import preset
from unmel.models.methods import resolve

CONFIG = preset("hifigan-22k").config
MEL = analyze(Engine().plans.get(CONFIG), speech(1.0))


@pytest.mark.loops
def test_the_samples_are_those_that_the_service_computes() -> None:
    recipe = resolve(CONFIG.power, octaves=CONFIG.octaves, quality="draft")
    item = Item(np.ascontiguousarray(MEL.T), CONFIG, recipe, CONFIG.samples(MEL.shape[1]), seed=5)
    (want,) = Engine().run([item])
    samples, sample_rate = unmel.invert(MEL, "hifigan-22k", "draft", 5)
    assert np.array_equal(samples, np.asarray(want.values))
    assert sample_rate == 22050
    for same in (CONFIG, CONFIG.model_dump()):
        assert np.array_equal(unmel.invert(MEL, same, "draft", 5)[0], samples)
    for shaped in (MEL.T, MEL[None], MEL.astype(np.float64)):
        assert np.array_equal(unmel.invert(shaped, CONFIG, "draft", 5)[0], samples)


@pytest.mark.loops
def test_a_result_does_not_depend_on_the_list_nor_on_the_threads() -> None:
    mels = [MEL, MEL[:, :30], MEL[:, 10:], MEL[:, :1], MEL]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together, _ = unmel.invert(mels, quality="draft")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert isinstance(together, list)
    for samples, mel in zip(together, mels, strict=True):
        assert np.array_equal(samples, unmel.invert(mel, quality="draft")[0])
    assert unmel.invert([], quality="draft") == ([], 22050)


@pytest.mark.loops
def test_a_tensor_gives_a_tensor_with_the_same_samples() -> None:
    want, _ = unmel.invert(MEL, quality="draft")
    given = torch.from_numpy(MEL)
    for tensor in (given, given.clone().requires_grad_(), given.T):
        samples, _ = unmel.invert(tensor, quality="draft")
        assert np.array_equal(samples.numpy(), want)
        assert not samples.requires_grad
        samples.mul_(2)  # a tensor of its own, not one of inference mode
    double, _ = unmel.invert(given.double(), quality="draft")
    assert double.dtype == torch.float64
    half, _ = unmel.invert(given.to(torch.bfloat16), quality="draft")
    assert half.dtype == torch.float32
    listed, _ = unmel.invert([given, given[:, :9]], quality="draft")
    assert np.array_equal(listed[0].numpy(), want)


@pytest.mark.loops
def test_lengths_and_methods_are_the_callers_choice() -> None:
    frames = MEL.shape[1]
    assert unmel.invert(MEL, n_iter=1, length=256 * frames)[0].shape == (256 * frames,)
    lengths = [None, 256 * 10]
    _, short = unmel.invert([MEL, MEL[:, :10]], n_iter=1, length=lengths)[0]
    assert len(short) == 2560
    plain, _ = unmel.invert(MEL, inversion="pinv", phase="griffin_lim", n_iter=2)
    assert not np.array_equal(plain, unmel.invert(MEL, n_iter=2, harmonics="off")[0])


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("config", {"config": "hifigan"}),
        ("quality", {"quality": "best"}),
        ("seed", {"seed": -1}),
        ("length", {"length": 7}),
        ("length", {"length": [256]}),
        ("method", {"method": "magic"}),
        ("start", {"start": "given"}),
        ("n_iter", {"n_iter": -1}),
        ("momentum", {"momentum": 2.0}),
        ("fit", {"fit": "loose"}),
        ("device", {"device": "tpu"}),
        ("device", {"device": "meta"}),
        ("mel", {"mel": MEL[:79]}),
        ("mel", {"mel": np.stack([MEL, MEL])}),
        ("mel", {"mel": "mel.npy"}),
        ("mel[1]", {"mel": [MEL, MEL + 50]}),
        ("length[1]", {"mel": [MEL, MEL], "length": [None, 3]}),
    ],
)
def test_what_cannot_be_used_is_named(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        unmel.invert(**{"mel": MEL, **options})
    assert caught.value.field == field
    assert f"{field}: got" in str(caught.value)


def test_a_refused_mel_is_told_what_it_would_fit() -> None:
    with pytest.raises(Invalid, match="these values would fit"):
        unmel.invert(MEL, "whisper-128")


@pytest.mark.loops
def test_a_mel_of_another_scale_is_warned_about_where_it_is_called() -> None:
    wrong = analyze(Engine().plans.get(preset("pwg-22k").config), speech(1.0))
    with pytest.warns(UserWarning, match="do not look like hifigan-22k") as caught:
        unmel.invert(wrong, n_iter=1)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"mel\[1\]: values from"):
        unmel.invert([MEL, wrong], n_iter=1)


def test_an_engine_is_made_once_for_a_device_from_any_thread() -> None:
    found: list[Engine] = []
    threads = [threading.Thread(target=lambda: found.append(shared("cpu"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, [*found, shared(torch.device("cpu"))]))) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid, match="torch finds no CUDA device"):
        unmel.invert(MEL, device="cuda")


@pytest.mark.process
def test_importing_unmel_loads_nothing_until_a_function_is_used() -> None:
    code = """
import sys, unmel
assert not {"torch", "numpy", "unmel.models", "unmel.service"} & set(sys.modules)
assert unmel.__version__ and "invert" in dir(unmel)
try:
    unmel.nothing
except AttributeError as error:
    assert "nothing" in str(error)
assert callable(unmel.invert) and callable(unmel.mel_to_audio) and unmel.InverseMel
assert not {"fastapi", "uvicorn", "soundfile", "unmel.service"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_each_gpu_has_an_engine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_engines, "_ENGINES", {})
    monkeypatch.setattr(shared_engines, "Engine", lambda device: (device,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert shared("cuda") == (torch.device("cuda:1"),)
    assert shared("cuda") is shared("cuda:1")
    assert shared("cuda:0") is not shared("cuda:1")
    with pytest.raises(Invalid, match="expected cuda:0 to cuda:1"):
        shared("cuda:2")
