"""Compiled loops: made when Unmel is installed, loaded before the first pack of a process.

Compiling takes ten to twenty seconds, loading from numba's cache about one. `python -m
unmel.models.backends.cpu.compiled` fills the cache; a process that finds it empty, or made for
another kind of processor, compiles before its first pack and says so in the log.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from unmel.models.backends.base import Backend

logger = logging.getLogger("unmel.compiled")

_REPORT_SECONDS = 1.0

_BACKENDS = Path(__file__).parents[1]
# numba looks at the file of a compiled function alone; constants come from the others.
_SOURCES = (
    "base.py",
    *(f"cpu/{path.name}" for path in sorted(Path(__file__).parent.glob("*.py"))),
)


class Loops:
    """The numba backend, made once in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._backend: Backend | None = None

    def wait(self) -> Backend | None:
        """The backend when its loops are loaded; None where they cannot be compiled."""
        with self._lock:
            if not self._done.is_set():
                self._load()
                self._done.set()
        return self._backend

    def _load(self) -> None:
        began = time.monotonic()
        try:
            folder = cache_folder()
            threading.Thread(target=self._report, args=(folder, began), daemon=True).start()
            settings = import_module("numba").config
            before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder or "")
            try:
                self._backend = import_module("unmel.models.backends.cpu.backend").NumbaBackend()
            finally:
                settings.CACHE_DIR = before
        except Exception:  # whatever numba or LLVM fails at: torch takes over
            logger.warning("numba's loops could not be compiled or loaded", exc_info=True)
        else:
            seconds = time.monotonic() - began
            logger.info("compiled loops ready after %.1f s, cached in %s", seconds, folder)

    def _report(self, folder: Path | None, began: float) -> None:
        """A log line for every second that loading takes."""
        cached = folder is not None and any(folder.rglob("*.nbc"))
        cause = "loading or compiling, some are" if cached else "compiling, none are"
        while not self._done.wait(_REPORT_SECONDS):
            seconds = time.monotonic() - began
            logger.info("waiting for compiled loops, %.0f s: %s kept in %s", seconds, cause, folder)


LOOPS = Loops()


def cache_folder() -> Path | None:
    """Where compiled code may be kept, or None where nothing can be written.

    `NUMBA_CACHE_DIR`, beside the source, the user's cache, a folder of the user's own among the
    temporary ones: the first that can be written. What was compiled into an earlier one while it
    could be written, as an image's is when the image is built, is copied there.
    """
    sources = b"".join((_BACKENDS / name).read_bytes() for name in _SOURCES)
    # rocket-fft's code is part of what is compiled here.
    version = importlib.metadata.version("rocket-fft").encode()
    digest = hashlib.sha256(sources + version).hexdigest()
    compiled_before: Path | None = None
    for parent in _parents():
        folder = parent / f"unmel-{digest[:16]}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            if compiled_before is None and _owned(folder):
                compiled_before = folder
            continue
        if _owned(folder):
            if compiled_before is not None:
                shutil.copytree(compiled_before, folder, dirs_exist_ok=True)
            return folder
    return None


def _owned(folder: Path) -> bool:
    """Whether it is there and ours: code is loaded from it, another user's folder will not do."""
    try:
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _parents() -> Iterator[Path]:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        yield Path(given)
    yield Path(__file__).parent / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    yield Path(tempfile.gettempdir())


def main() -> int:
    """Fill the cache and say so in one line; 1 if there are no compiled loops here."""
    began = time.monotonic()
    if LOOPS.wait() is None:
        return 1
    loop = import_module("unmel.models.backends.cpu.frames").frame
    stats, seconds = loop.stats, time.monotonic() - began
    found = "compiled" if stats.cache_misses or stats.cache_path is None else "found"
    folder = cache_folder() or "no folder"
    print(f"compiled loops: {found} in {seconds:.1f} s, kept in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
