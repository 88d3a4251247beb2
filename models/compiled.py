"""Compiled loops: made or loaded in the background, used from the moment they are there.

Compiling takes many seconds on the first start, loading from numba's cache about one. Nobody waits
for a compiler: torch's loops give the same bits, and a pack takes whichever there are when it
begins. A service may wait for what is only loaded, whose thread would else be in its first
requests' way.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

logger = logging.getLogger("unmel.compiled")

_HERE = Path(__file__).parent
# numba looks at the file of a compiled function alone; constants come from the others.
_SOURCES = (
    *(f"kernels/{path.name}" for path in sorted((_HERE / "kernels").glob("*.py"))),
    *(f"{name}.py" for name in ("polar", "projection", "raising")),
)


class Loops:
    """`models/kernels`, once in a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._module: ModuleType | None = None
        self._looked, self._kept = threading.Event(), False

    def start(self) -> None:
        """Begin to load, unless that was done before."""
        with self._lock:
            if self._thread is None:
                # Not a daemon: LLVM must not be running while the interpreter ends.
                self._thread = threading.Thread(target=self._load, name="compile")
                self._thread.start()

    @property
    def ready(self) -> ModuleType | None:
        """The kernels if they are there."""
        return self._module

    def wait(self, timeout: float | None = None) -> ModuleType | None:
        """The kernels when loading has ended, or `ready` after `timeout` seconds."""
        self.start()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._module

    def settle(self, timeout: float) -> ModuleType | None:
        """The kernels when loading has ended, where it was begun and there is compiled code to
        load; `ready` at once where there is none, and after `timeout` seconds.
        """
        end = time.monotonic() + timeout
        if self._thread is not None and self._looked.wait(timeout) and self._kept:
            self._thread.join(max(0.0, end - time.monotonic()))
        return self._module

    def _load(self) -> None:
        try:
            folder = cache_folder()
            self._kept = folder is not None and any(folder.rglob("*.nbc"))
            self._looked.set()
            settings = import_module("numba").config
            before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder or "")
            try:
                self._module = import_module("models.kernels")
            finally:
                settings.CACHE_DIR = before
        except Exception:  # whatever numba or LLVM has against this machine: torch does without
            logger.warning("no compiled loops; torch's are slower", exc_info=True)
        else:
            logger.info("compiled loops ready, cached in %s", folder)
        finally:
            self._looked.set()


LOOPS = Loops()


def cache_folder() -> Path | None:
    """Where compiled code may be kept, or None where nothing can be written.

    `NUMBA_CACHE_DIR`, beside the source, the user's cache, a folder of the user's own among the
    temporary ones: the first that can be written. What was compiled into an earlier one while it
    could be written, as an image's is when the image is built, is copied there.
    """
    digest = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _SOURCES)).hexdigest()
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
    yield _HERE / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    yield Path(tempfile.gettempdir())
