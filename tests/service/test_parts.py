"""What a service does before it says that it is ready."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from models import compiled
from models.compiled import Loops
from models.engine import Engine, Result, Work
from models.sliding import Step
from service import parts
from service.parts import make_parts
from service.settings import Settings


class Noted(Engine):
    """Keeps what it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[Work] = []

    def run(self, items: list[Work]) -> list[Result]:  # type: ignore[override] # it is given lists
        self.ran += items
        return super().run(items)


def test_a_pack_and_a_streams_first_later_and_last_step_were_run_before() -> None:
    engine = Noted()
    made = make_parts(Settings(lanes=1, warm_presets=("hifigan-22k",)), engine)
    asyncio.run(made.warm_up())
    assert made.warm.is_set()
    pack, *steps = engine.ran
    assert not isinstance(pack, Step)
    spans = [step.span for step in steps if isinstance(step, Step)]
    assert [span.settled > 0 for span in spans] == [False, True, True]
    assert [span.end is not None for span in spans] == [False, False, True]


def test_readiness_does_not_wait_for_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is in the cache, and the compiler does not come back."""
    gate, loops = threading.Event(), Loops()

    def slow(name: str) -> ModuleType:
        gate.wait()
        return sys.modules["numba"]

    monkeypatch.setattr(compiled, "import_module", slow)
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(parts, "LOOPS", loops)
    monkeypatch.setattr(parts, "_LOADING_SECONDS", threading.TIMEOUT_MAX)
    loops.start()
    made = make_parts(Settings(lanes=1, warm_presets=("hifigan-22k",)), Engine())
    warming = threading.Thread(target=lambda: asyncio.run(made.warm_up()), daemon=True)
    warming.start()
    warming.join(60)
    ended = not warming.is_alive()
    gate.set()
    loops.wait()
    assert ended
    assert made.warm.is_set()
