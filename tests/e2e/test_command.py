"""The command and the functions, from a folder that holds somebody else's `models.py`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from tests.root import ROOT
from tests.service.asking import MEL

pytestmark = [pytest.mark.process, pytest.mark.loops]

SCRIPT = str(Path(sysconfig.get_path("scripts")) / "unmel")
COMMANDS = pytest.mark.parametrize(
    "command", [[SCRIPT], [sys.executable, "-m", "unmel"]], ids=["script", "module"]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout as hifi-gan's, VITS's and StyleTTS 2's are: modules of these names in its root."""
    for name in ("models", "service", "utils", "cli", "engine", "mel", "errors", "server"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('the stranger {name}.py')\n")
    np.save(tmp_path / "mel.npy", MEL)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@COMMANDS
def test_the_command_works_beside_a_strangers_modules(folder: Path, command: list[str]) -> None:
    done = run(folder, *command, "--version")
    assert re.fullmatch(r"unmel \d\S*\n", done.stdout), done.stderr
    done = run(folder, *command, "invert", "mel.npy", "-c", "hifigan-22k", "-o", "out.wav")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(folder / "out.wav").frames == 256 * MEL.shape[1]
    done = run(folder, *command, "invert", "models.py", "-c", "hifigan-22k")
    assert (done.returncode, done.stdout) == (1, "")
    assert "unmel: models.py: mel: got text; expected the output of np.save" in done.stderr
    assert run(folder, *command, "invert", "mel.npy").returncode == 2


def test_the_other_commands_do_too(folder: Path) -> None:
    clip = str(ROOT / "examples" / "clip.wav")
    for arguments in (
        ("analyze", clip, "-c", "vocos-24k", "-o", "clip.npy"),
        ("presets",),
        ("methods",),
        ("fit", "mel.npy"),
    ):
        done = run(folder, SCRIPT, *arguments)
        assert done.returncode == 0, done.stderr


def test_the_service_starts_beside_a_strangers_modules(folder: Path) -> None:
    environment = {**os.environ, "UNMEL_WARM_PRESETS": "[]", "UNMEL_HOST": "127.0.0.9"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "unmel",
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--lanes",
            "1",
        ],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = iter(process.stderr)
        found = next(m for line in lines if (m := re.search(r"http://127.0.0.1:\d+", line)))
        assert httpx.get(f"{found[0]}/livez", timeout=60).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_functions_work_beside_a_strangers_modules(folder: Path) -> None:
    code = """
import numpy as np, unmel
mel = np.load("mel.npy")
samples, sample_rate = unmel.invert(mel, "hifigan-22k", "draft")
assert sample_rate == 22050 and len(samples) == 256 * mel.shape[1]
assert unmel.InverseMel("hifigan-22k") and unmel.mel_to_audio
"""
    done = run(folder, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
