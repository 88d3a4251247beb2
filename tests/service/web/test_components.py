"""What a service does before it says that it is ready."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar

import pytest

from tests.root import ROOT
from tests.service.engines import TestEngine
from unmel.models.engine.engine import Engine
from unmel.models.engine.streams import StreamStep
from unmel.models.engine.work import Result, Work
from unmel.models.errors import Invalid, OutOfMemory
from unmel.service import __main__
from unmel.service.__main__ import main
from unmel.service.ops.settings import Settings
from unmel.service.web import components
from unmel.service.web.components import build_engine, make_components


class Noted(Engine):
    """Keeps what it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[Work] = []

    def run(self, items: list[Work]) -> list[Result]:  # type: ignore[override] # it is given lists
        self.ran += items
        return super().run(items)


@pytest.mark.loops
def test_a_pack_and_a_streams_first_later_and_last_step_were_run_before() -> None:
    engine = Noted()
    made = make_components(Settings(lanes=1, warm_presets=("hifigan-22k",)), engine)
    asyncio.run(made.warm_up())
    assert made.warm.is_set()
    pack, *steps = engine.ran
    assert not isinstance(pack, StreamStep)
    spans = [step.span for step in steps if isinstance(step, StreamStep)]
    assert [span.settled > 0 for span in spans] == [False, True, True]
    assert [span.end is not None for span in spans] == [False, False, True]


def test_readiness_waits_for_the_loops_with_no_presets_to_warm_too() -> None:
    gate, entered = threading.Event(), threading.Event()

    class Slow(TestEngine):
        def load(self) -> None:
            entered.set()
            gate.wait()

    made = make_components(Settings(lanes=1, warm_presets=()), Slow())

    async def ask() -> list[bool]:
        task = asyncio.create_task(made.warm_up())
        await asyncio.to_thread(entered.wait)
        seen = [made.warm.is_set()]
        gate.set()
        await task
        return [*seen, made.warm.is_set()]

    assert asyncio.run(ask()) == [False, True]


def test_a_warm_up_that_fails_is_tried_again_and_then_asks_for_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(components, "_WATCH_SECONDS", 0.0)
    alive: list[bool] = []

    class Failing(TestEngine):
        def load(self) -> None:
            alive.append(made.alive)
            if len(alive) < 11:
                raise OutOfMemory("another process holds the memory")

    made = make_components(Settings(lanes=1, warm_presets=()), Failing())
    asyncio.run(made.warm_up())
    assert alive == [True] * 8 + [False] * 3
    assert made.warm.is_set()
    assert made.alive


class Started:
    """A server that is run and ends."""

    engines: ClassVar[list[object]] = []

    def __init__(self, engine: object) -> None:
        self.engines.append(engine)

    def run(self) -> None:
        """Nothing comes."""


def test_both_ways_in_make_the_engine_that_the_settings_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`python -m unmel.service` and a replica on Ray: no setting holds for one of them alone."""
    told: list[str] = []
    monkeypatch.setattr(components.tracing, "configure", told.append)
    monkeypatch.setattr(components.logs, "configure", lambda *_: None)
    settings = Settings(plan_cache_mb=3, pack_mb=17, otlp_endpoint="http://host:4318/v1/traces")
    engine = build_engine(settings)
    assert engine.pack_bytes == 17 * 2**20
    assert engine.plans.max_bytes == 3 * 2**20
    assert told == ["http://host:4318/v1/traces"]
    # The one way in is run below; of the other, which needs Ray, the call is looked for.
    made, kinds = object(), []
    monkeypatch.setattr(__main__, "build_engine", lambda *given: kinds.append(given) or made)
    monkeypatch.setattr(__main__, "create_app", lambda _, engine: engine)
    monkeypatch.setattr(__main__, "Server", lambda engine, *_, **__: Started(engine))
    monkeypatch.setattr(__main__, "_exit_now", lambda: None)  # lanes of other tests would end it
    Started.engines.clear()
    assert main(TestEngine) == 0
    assert Started.engines == [made]
    assert [kind for _, kind in kinds] == [TestEngine]
    text = (ROOT / "service" / "cluster" / "replica.py").read_text()
    assert "create_app(settings, engine)" in text
    assert "engine = build_engine(settings)" in text


def test_a_backend_that_is_named_and_not_to_be_had_ends_the_start_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(components.logs, "configure", lambda *_: None)
    with pytest.raises(Invalid, match="UNMEL_BACKEND: got triton"):
        build_engine(Settings(backend="triton", device="cpu"))
    assert build_engine(Settings(backend="torch", device="cpu")).chosen is not None
