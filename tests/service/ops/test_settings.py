"""Settings: read from the environment, cross-checked, and documented in one table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import SecretStr, ValidationError

from tests.root import ROOT
from unmel.models.errors import Invalid
from unmel.service.__main__ import main
from unmel.service.ops.cores import usable_cores
from unmel.service.ops.settings import Settings

README = ROOT / "README.md"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMEL_PORT", "9001")
    monkeypatch.setenv("UNMEL_WARM_PRESETS", '["whisper-80"]')
    settings = Settings()
    assert (settings.port, settings.warm_presets) == (9001, ("whisper-80",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("LANES", "-1"),
        ("PACK_MB", "15"),
        ("DEVICE", "tpu"),
        ("WARM_PRESETS", '["nope"]'),
    ],
)
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"UNMEL_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_lanes_follow_the_cores_on_a_cpu_and_are_two_on_a_gpu() -> None:
    assert Settings().resolve_lanes("cpu") == usable_cores()
    assert Settings().resolve_lanes("cuda") == 2
    assert Settings(lanes=3).resolve_lanes("cuda") == 3


def test_a_packs_memory_follows_the_device_where_none_is_set() -> None:
    assert Settings().resolve_pack_bytes("cpu") == 512 * 2**20
    assert Settings().resolve_pack_bytes("cuda") == 2048 * 2**20
    assert Settings(pack_mb=17).resolve_pack_bytes("cuda") == 17 * 2**20


def test_auto_takes_what_is_there_and_cuda_insists() -> None:
    there = torch.cuda.is_available()
    assert Settings(device="auto").resolve_device() == ("cuda" if there else "cpu")
    assert Settings(device="cpu").resolve_device() == "cpu"
    if not there:
        with pytest.raises(Invalid, match="no CUDA device"):
            Settings(device="cuda").resolve_device()


def as_set(default: object) -> str:
    """A default as one would write it into the environment."""
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{value}"' for value in default) + "]"
    return "unset" if default in (None, SecretStr("")) else str(default)


def test_the_readme_has_a_row_for_every_setting_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `UNMEL_(\w+)` \| `([^`]*)` \| (.*) \|$", README.read_text(), re.M)
    assert rows == [
        (name.upper(), as_set(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]


KEY = "0123456789abcdef"


def test_keys_come_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}3\n\nteam-b:{KEY}4\n")
    settings = Settings(api_keys=SecretStr(f"team-a:{KEY}1, {KEY}2"), api_keys_file=file)
    assert [(key.label, key.secret) for key in settings.read_keys()] == [
        *(("team-a", f"{KEY}1"), ("unlabelled", f"{KEY}2")),
        *(("unlabelled", f"{KEY}3"), ("team-b", f"{KEY}4")),
    ]
    assert KEY not in repr(settings) + repr(settings.read_keys())


@pytest.mark.parametrize(
    "fields",
    [
        {"api_keys": "short"},
        {"api_keys": f"{KEY} {KEY}"},
        {"api_keys": f"team-a:{KEY},{KEY}"},
        {"api_keys_file": "/nowhere/at/all"},
        {"api_keys_file": f"team-a:{KEY}"},  # meant for the other setting
        {"max_queue_seconds": 31.0, "drain_seconds": 30},
        {"max_body_mb": 100, "max_held_mb": 99},
        {"port": 9000, "grpc_port": 9000},
    ],
)
def test_settings_that_do_not_go_together_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(**fields)
    assert KEY not in str(caught.value)


def test_a_file_of_keys_that_is_no_text_is_refused_unquoted(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(KEY.encode() + b"\xfa")
    with pytest.raises(ValidationError, match="not UTF-8") as caught:
        Settings(api_keys_file=tmp_path / "keys")
    assert "0xfa" not in str(caught.value)


def test_a_file_of_keys_without_a_key_is_refused_and_does_not_open_the_service(
    tmp_path: Path,
) -> None:
    (tmp_path / "keys").write_text("\n\n")
    with pytest.raises(ValidationError, match="no key"):
        Settings(api_keys_file=tmp_path / "keys")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("UNMEL_PORT", "many", "UNMEL_PORT: got 'many'"),
        ("UNMEL_WARM_PRESETS", "hifigan-22k", "warm_presets"),  # not JSON
        ("UNMEL_BACKEND", "cupy", "UNMEL_BACKEND: got 'cupy'"),
        ("UNMEL_MAX_BODY_MB", "2000", "max_held_mb: less than one body"),
        ("UNMEL_API_KEYS", f"a:{KEY},b:", "api_keys: entry 2 of 2: a key has 16 to 512"),
    ],
)
def test_wrong_settings_in_the_environment_are_told_on_standard_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    reason: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert main() == 2
    told = capsys.readouterr().err
    assert reason in told
    assert KEY not in told
