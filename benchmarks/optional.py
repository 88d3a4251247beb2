"""Packages that only some figures need: whether they are installed, and loaded when used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.peers import load_torchaudio


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def folder(package: str) -> Path:
    """Folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(package)
    return Path(found.submodule_search_locations[0])


def load(name: str) -> Any:
    """A module; where torchaudio does not load, an empty one stands in for it.

    DistillMOS and torchcrepe ask for torchaudio to read files, which nobody here has them do.
    """
    if name in sys.modules:
        return sys.modules[name]
    absent = load_torchaudio() is None
    if absent:
        sys.modules["torchaudio"] = ModuleType("torchaudio")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    finally:
        if absent:
            del sys.modules["torchaudio"]
