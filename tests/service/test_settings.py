"""Settings: read from the environment, cross-checked, and documented in one table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from models.errors import Invalid
from service.settings import Settings, usable_cores

README = Path(__file__).parent.parent.parent / "README.md"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMEL_PORT", "9001")
    monkeypatch.setenv("UNMEL_WARM_PRESETS", '["whisper-80"]')
    settings = Settings()
    assert (settings.port, settings.warm_presets) == (9001, ("whisper-80",))


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("LANES", "-1"), ("DEVICE", "tpu"), ("WARM_PRESETS", '["nope"]')],
)
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"UNMEL_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_lanes_follow_the_cores_on_a_cpu_and_are_one_on_a_gpu() -> None:
    assert Settings().resolve_lanes("cpu") == usable_cores()
    assert Settings().resolve_lanes("cuda") == 1
    assert Settings(lanes=3).resolve_lanes("cuda") == 3


def test_auto_takes_what_is_there_and_cuda_insists() -> None:
    there = torch.cuda.is_available()
    assert Settings(device="auto").resolve_device() == ("cuda" if there else "cpu")
    assert Settings(device="cpu").resolve_device() == "cpu"
    if not there:
        with pytest.raises(Invalid, match="no CUDA device"):
            Settings(device="cuda").resolve_device()


def test_the_readme_has_a_row_for_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `UNMEL_(\w+)` \| `([^`]*)` \|", README.read_text(), re.M))
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = "[" + ", ".join(f'"{value}"' for value in default) + "]"
        expected[name.upper()] = str(default)
    assert rows == expected
