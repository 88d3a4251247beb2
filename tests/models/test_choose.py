"""A backend is chosen once: the fast one of a device, what was named, or torch with a warning."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from models import choose as module
from models.choose import Backend, Wanted, choose
from models.engine import Engine
from models.errors import Invalid
from models.presets import PRESETS
from models.transforms import mkl

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LOOPS, DEVICE_LOOPS = ModuleType("kernels"), ModuleType("gpu")
MKL = mkl() is not None


class Given:
    """Loops that are there, or are not."""

    def __init__(self, loops: ModuleType | None) -> None:
        self.loops, self.asked = loops, 0

    def start(self, _: torch.device) -> None:
        pass

    def wait(self) -> ModuleType | None:
        self.asked += 1
        return self.loops


@pytest.fixture(params=[True, False], ids=["there", "not-there"])
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(module, "LOOPS", Given(LOOPS if request.param else None))
    monkeypatch.setattr(module, "DEVICE_LOOPS", Given(DEVICE_LOOPS if request.param else None))
    return bool(request.param)


def test_auto_takes_the_fast_one_or_torch_with_a_warning(
    caplog: pytest.LogCaptureFixture, *, there: bool
) -> None:
    if there:
        assert choose("auto", CPU) == Backend("numba", "mkl+ducc" if MKL else "ducc", LOOPS)
        assert choose("auto", CUDA) == Backend("triton", "cufft", DEVICE_LOOPS)
        assert not caplog.records
    else:
        assert choose("auto", CPU) == Backend("torch", "torch", None)
        assert choose("auto", CUDA) == Backend("torch", "cufft", None)
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "in place of numba" in caplog.text
        assert "in place of triton" in caplog.text


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
    assert choose("torch", CPU) == Backend("torch", "torch")
    assert choose("torch", CUDA) == Backend("torch", "cufft")


def test_an_engine_keeps_what_it_has_chosen(*, there: bool) -> None:
    engine = Engine()
    assert engine.chosen is None
    assert engine.preparation(PRESETS["hifigan-22k"].config) > 10
    engine.load()
    assert engine.chosen is engine.backend
    assert engine.kernels is (LOOPS if there else None)
    engine.load()
    assert module.LOOPS.asked == 1  # type: ignore[attr-defined] # the fixture's
