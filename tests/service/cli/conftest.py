"""The command run in this process, in a folder of its own, with what it wrote and its status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unmel.service.cli.main import command
from unmel.service.ops import logs

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `unmel` with arguments; the log stays the tests' own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda *_: None)

    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(command, arguments, input=stdin, prog_name="unmel")
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run
