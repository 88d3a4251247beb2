"""`InverseMel` behaves as a module of torch does."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch

import unmel
from tests.signals import speech
from unmel.models.engine import Engine
from unmel.models.engine.analysis import analyze
from unmel.models.errors import Invalid
from unmel.models.mel import preset

CONFIG = preset("hifigan-22k").config
MEL = torch.from_numpy(analyze(Engine().plans.get(CONFIG), speech(0.6)))


@pytest.mark.loops
def test_a_batch_gives_what_its_mels_give_alone() -> None:
    module = unmel.InverseMel("hifigan-22k", quality="draft", seed=3)
    batch = torch.stack([MEL, MEL.flip(1), MEL]).reshape(3, 1, *MEL.shape)
    with torch.no_grad():
        samples = module(batch)
    assert samples.shape == (3, 1, CONFIG.samples(MEL.shape[1]))
    for one, mel in zip(samples[:, 0], batch[:, 0], strict=True):
        alone, _ = unmel.invert(mel.numpy(), CONFIG, "draft", 3)
        assert np.array_equal(one.numpy(), alone)
    assert torch.equal(module(MEL), samples[0, 0])
    assert module(batch[:0]).shape == (0, 1, samples.shape[-1])


@pytest.mark.loops
def test_a_square_mel_has_its_bands_first_as_torchaudios_has() -> None:
    square = MEL[:, :1].expand(80, 80)
    assert unmel.InverseMel(CONFIG, n_iter=1)(square, length=80 * 256).shape == (80 * 256,)


@pytest.mark.loops
def test_it_sits_in_a_model_without_a_trace_in_its_checkpoint() -> None:
    model = torch.nn.Sequential(torch.nn.Identity(), unmel.InverseMel(CONFIG, n_iter=1))
    assert not model.state_dict()
    assert not list(model.parameters())
    model.load_state_dict({})
    model.train().eval().to("cpu").double()
    want = model(MEL)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),  # noqa: S301 - made here
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(other(MEL), want)
    assert not model(MEL.clone().requires_grad_()).requires_grad
    assert "80 bands, 22050 Hz" in repr(model)


def test_what_cannot_be_used_is_named_at_once_or_by_its_place_in_the_batch() -> None:
    with pytest.raises(Invalid, match="quality"):
        unmel.InverseMel(CONFIG, quality="best")  # type: ignore[arg-type]
    module = unmel.InverseMel(CONFIG, n_iter=1)
    with pytest.raises(Invalid, match=r"mel\[1\]: got values"):
        module(torch.stack([MEL, MEL + 50]))
    with pytest.raises(Invalid, match="mel: got shape 80; expected"):
        module(MEL[:, 0])
    with pytest.raises(Invalid, match="mel: got shape 79x"):
        module(MEL[:79])
