"""`unmel presets`, `methods`, `fit`, `serve` and the help."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import unmel
from tests.service.asking import MEL
from tests.service.cli.conftest import Run
from unmel.models.mel import PRESETS
from unmel.models.methods import INVERSIONS, JOINT, PHASES, STARTS
from unmel.service.cli.main import command
from unmel.service.wire.schemas import Methods


def test_every_preset_is_in_the_list_and_one_alone_is_its_config(run: Run) -> None:
    lines = run("presets").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(PRESETS)
    shown = json.loads(run("presets", "whisper-80").stdout)
    config = unmel.MelConfig.model_validate(shown["config"])
    assert config == PRESETS["whisper-80"].config
    assert [row["name"] for row in json.loads(run("presets", "--json").stdout)] == list(PRESETS)
    refused = run("presets", "nope")
    assert refused.exit_code == 2
    assert "config: got 'nope'; expected" in refused.stderr


def test_every_method_is_in_the_list_and_the_defaults_have_a_star(run: Run) -> None:
    lines = [line.split() for line in run("methods").stdout.splitlines()[1:]]
    names = [*JOINT, *INVERSIONS, *PHASES, *STARTS]
    assert [line[1].rstrip("*") for line in lines] == names
    stars = [line[1] for line in lines if line[1].endswith("*")]
    assert stars == ["consistent*", "pinv*", "griffin_lim*", "random*"]
    Methods.model_validate_json(run("methods", "--json").stdout)


def test_fit_names_the_presets_and_a_mel_that_fits_none_is_a_failure(run: Run) -> None:
    np.save("mel.npy", MEL)
    np.save("none.npy", np.full((80, 9), 1e4))
    Path("junk.npy").write_bytes(b"junk")
    done = run("fit", "mel.npy")
    assert done.exit_code == 0
    named = [line.split()[0] for line in done.stdout.splitlines()]
    assert any(PRESETS[name].config.scale == PRESETS["hifigan-22k"].config.scale for name in named)
    done = run("fit", "mel.npy", "none.npy", "junk.npy", "gone.npy")
    assert done.exit_code == 1
    assert done.stdout.startswith("mel.npy:\n")
    for name in ("none.npy: mel: got", "junk.npy: mel: got text", "gone.npy: No such file"):
        assert f"unmel: {name}" in done.stderr
    assert run("fit", "mel.npy", "--layout", "diagonal").exit_code == 2


def test_every_command_has_an_example_in_its_help(run: Run) -> None:
    for name in (None, *command.commands):
        done = run(*(() if name is None else (name,)), "--help")
        assert done.exit_code == 0
        assert f"Example: unmel {name or 'invert'}" in done.stdout
    assert run("--version").stdout == f"unmel {unmel.__version__}\n"


def test_serve_takes_options_before_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMEL_PORT", "9000")
    done = run("serve", "--port", "70000")
    assert done.exit_code == 2
    assert "--port: got '70000'; expected less than or equal to 65535" in done.stderr
    monkeypatch.setenv("UNMEL_PORT", "many")
    done = run("serve")
    assert (done.exit_code, "UNMEL_PORT: got 'many'" in done.stderr) == (2, True)


def test_the_shell_completes_presets_formats_and_qualities(run: Run) -> None:
    options = {
        parameter.name: parameter
        for parameter in command.commands["invert"].params
        if parameter.name
    }
    context = command.commands["invert"].make_context("invert", ["x", "-c", "y"])

    def completed(name: str, start: str) -> list[str]:
        return [item.value for item in options[name].shell_complete(context, start)]

    assert completed("config", "whisper") == ["whisper-80", "whisper-128"]
    assert completed("format", "wav") == ["wav", "wav_f32"]
    assert completed("quality", "") == ["draft", "standard", "high"]
