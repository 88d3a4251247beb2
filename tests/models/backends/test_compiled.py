"""Compiled loops are waited for, are kept wherever they can be, and can be done without."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest

from unmel.models.backends.cpu import compiled
from unmel.models.backends.cpu.compiled import Loops, cache_folder

ROOM = "unmel.models.backends.cpu.backend"


@pytest.mark.parametrize(
    ("cached", "said"),
    [(True, "loading or compiling, some are kept"), (False, "compiling, none are kept")],
)
def test_whoever_waits_gets_the_loops_and_the_log_says_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    cached: bool,
    said: str,
) -> None:
    """Loading goes on until the log has said so twice."""
    backend, loops = object(), Loops()
    module = SimpleNamespace(NumbaBackend=lambda: backend)
    caplog.set_level(logging.INFO, "unmel.compiled")

    def lines() -> list[str]:
        return [text for text in caplog.messages if text.startswith("waiting")]

    def slow(name: str) -> object:
        while name == ROOM and len(lines()) < 2:
            pass
        return module if name == ROOM else numba

    if cached:
        (tmp_path / "frame.nbc").touch()
    monkeypatch.setattr(compiled, "import_module", slow)
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(compiled, "_REPORT_SECONDS", 0.001)
    assert loops.wait() is backend
    assert all(said in line and str(tmp_path) in line for line in lines())


def test_it_loads_once_however_often_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def count(name: str) -> object:
        seen.append(name)
        return SimpleNamespace(NumbaBackend=object) if name == ROOM else numba

    monkeypatch.setattr(compiled, "import_module", count)
    loops = Loops()
    assert loops.wait() is loops.wait() is not None
    assert seen.count(ROOM) == 1


def test_a_compiler_that_fails_leaves_torchs_loops_and_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> object:
        raise OSError("libLLVM is not to be found")

    monkeypatch.setattr(compiled, "import_module", broken)
    loops = Loops()
    assert loops.wait() is None
    assert "libLLVM" in caplog.text


def test_the_cache_is_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "asked"))
    folder = cache_folder()
    assert folder is not None
    assert folder.parent == tmp_path / "asked"


def test_the_next_folder_is_taken_where_one_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container whose file system can only be read, but for a temporary folder."""
    wall = tmp_path / "a-file-and-no-folder"
    wall.touch()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(wall))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(compiled, "_parents", lambda: [wall, tmp_path])
    folder = cache_folder()
    assert folder is not None
    assert folder.parent == tmp_path
    monkeypatch.setattr(compiled, "_parents", lambda: [wall])
    assert cache_folder() is None


def test_what_was_compiled_where_nothing_can_be_written_any_more_is_taken_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in an image that was warmed when it was built, run on a read-only file system."""
    image, temporary = tmp_path / "image", tmp_path / "temporary"
    monkeypatch.setattr(compiled, "_parents", lambda: [image, temporary])
    built = cache_folder()
    assert built is not None
    (built / "cpu").mkdir()
    (built / "cpu" / "mel_step.nbc").write_bytes(b"code")
    really = tempfile.TemporaryFile

    def read_only(*args: object, dir: Path) -> object:  # noqa: A002 - tempfile's own name
        if dir.is_relative_to(image):
            raise OSError("Read-only file system")
        return really(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    folder = cache_folder()
    assert folder is not None
    assert folder.parent == temporary
    assert (folder / "cpu" / "mel_step.nbc").read_bytes() == b"code"


def test_another_users_folder_is_not_loaded_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "_parents", lambda: [tmp_path])
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert cache_folder() is None


def test_a_changed_constant_is_another_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Numba alone would keep code with the old one: it looks at the function's file only."""
    monkeypatch.setattr(compiled, "_parents", lambda: [tmp_path])
    before = cache_folder()
    sources = tmp_path / "models"
    sources.mkdir()
    for name in compiled._SOURCES:
        (sources / name).parent.mkdir(exist_ok=True)
        (sources / name).write_bytes((compiled._BACKENDS / name).read_bytes())
    monkeypatch.setattr(compiled, "_BACKENDS", sources)
    assert cache_folder() == before
    with (sources / "base.py").open("a") as file:
        file.write("# changed\n")
    assert cache_folder() != before


def test_without_a_folder_to_write_to_it_compiles_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numba is told to keep nothing, and told otherwise again when the loops are there."""
    seen: list[object] = []

    def look(name: str) -> object:
        if name == ROOM:
            seen.append(numba.config.CACHE_DIR)
        return numba if name == "numba" else SimpleNamespace(NumbaBackend=object)

    before = numba.config.CACHE_DIR
    monkeypatch.setattr(compiled, "import_module", look)
    for folder in (None, Path("folder")):
        monkeypatch.setattr(compiled, "cache_folder", lambda folder=folder: folder)
        Loops().wait()
    assert seen == ["", "folder"]
    assert before == numba.config.CACHE_DIR
