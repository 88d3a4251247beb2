"""A backend is chosen once: the fast one of a device, what was named, or torch with a warning."""

from __future__ import annotations

import pytest
import torch

from unmel.models.backends.base import Backend
from unmel.models.backends.reference import REFERENCE, TorchBackend
from unmel.models.engine import choose as module
from unmel.models.engine.choose import Wanted, choose
from unmel.models.engine.engine import Engine
from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Numba(TorchBackend):
    """Stands for the numba backend."""

    name = "numba"


class Triton(TorchBackend):
    """Stands for the Triton backend."""

    name = "triton"


NUMBA, TRITON = Numba(), Triton()


class Given:
    """A backend that works here, or does not."""

    def __init__(self, backend: Backend | None) -> None:
        self.backend, self.asked = backend, 0

    def wait(self, *_: torch.device) -> Backend | None:
        self.asked += 1
        return self.backend


@pytest.fixture(params=[True, False], ids=["there", "not-there"])
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(module, "LOOPS", Given(NUMBA if request.param else None))
    monkeypatch.setattr(module, "DEVICE_LOOPS", Given(TRITON if request.param else None))
    return bool(request.param)


def test_auto_takes_the_fast_one_or_torch_with_a_warning(
    caplog: pytest.LogCaptureFixture, *, there: bool
) -> None:
    if there:
        assert choose("auto", CPU) is NUMBA
        assert choose("auto", CUDA) is TRITON
        assert not caplog.records
    else:
        assert choose("auto", CPU) is REFERENCE
        assert (choose("auto", CUDA).name, choose("auto", CUDA).fft) == ("torch", "cufft")
        caplog.records.pop()
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "numba does not work here" in caplog.text
        assert "triton does not work here" in caplog.text


@pytest.mark.parametrize(("name", "device"), [("numba", CPU), ("triton", CUDA)])
def test_a_named_one_is_taken_or_refused_and_never_replaced(
    name: Wanted, device: torch.device, *, there: bool
) -> None:
    if there:
        assert choose(name, device).name == name
    else:
        with pytest.raises(Invalid, match=f"UNMEL_BACKEND: got {name}"):
            choose(name, device)


@pytest.mark.parametrize(("name", "device"), [("numba", CUDA), ("triton", CPU)])
def test_one_of_another_device_is_refused_before_anything_is_compiled(
    name: Wanted, device: torch.device, *, there: bool
) -> None:
    with pytest.raises(Invalid, match="on a device of type"):
        choose(name, device)
    assert module.LOOPS.asked == 0  # type: ignore[attr-defined] # the fixture's


def test_torch_is_there_without_any_loops(*, there: bool) -> None:
    assert choose("torch", CPU) is REFERENCE
    assert (choose("torch", CUDA).name, choose("torch", CUDA).fft) == ("torch", "cufft")
    assert choose("auto", CPU, torch.float64) is REFERENCE  # loops are for single precision
    with pytest.raises(Invalid, match="single precision"):
        choose("numba", CPU, torch.float64)


def test_an_engine_keeps_what_it_has_chosen(*, there: bool) -> None:
    engine = Engine()
    assert engine.chosen is None
    assert engine.preparation(PRESETS["hifigan-22k"].config) > 10
    engine.load()
    assert engine.chosen is engine.backend
    assert engine.backend is (NUMBA if there else REFERENCE)
    engine.load()
    assert module.LOOPS.asked == 1  # type: ignore[attr-defined] # the fixture's
