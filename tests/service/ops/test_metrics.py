"""What Prometheus is shown after known requests; spans for those who trace."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from tests.root import ROOT
from tests.service.conftest import wait_until_ready
from tests.service.live import npy
from unmel.models.engine.engine import Engine
from unmel.models.errors import Invalid
from unmel.service.app import create_app
from unmel.service.ops import tracing
from unmel.service.ops.metrics import STAGES
from unmel.service.ops.settings import Settings

pytestmark = pytest.mark.loops

NPY = {"Content-Type": "application/x-npy"}


@pytest.fixture
def fresh() -> Iterator[TestClient]:
    """A service of its own, that has counted nothing."""
    with TestClient(create_app(Settings(lanes=1, warm_presets=()), Engine())) as client:
        wait_until_ready(client)
        yield client


def shown(client: TestClient) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus's own parser reads them."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


def test_what_happened_is_counted(fresh: TestClient) -> None:
    for _ in range(2):
        assert reconstruct(fresh).status_code == 200
    fresh.post("/reconstruct?config=hifigan-22k", content=b"junk", headers=NPY)
    fresh.get("/presets/nope")
    fresh.get("/nope/at/all")
    seen = shown(fresh)
    assert seen['unmel_requests_total{key="none",route="/reconstruct",status="200"}'] == 2
    assert seen['unmel_requests_total{key="none",route="/reconstruct",status="400"}'] == 1
    assert seen['unmel_requests_total{key="none",route="/presets/{name}",status="404"}'] == 1
    assert seen['unmel_requests_total{key="none",route="other",status="404"}'] == 1
    assert seen['unmel_request_seconds_count{route="/reconstruct"}'] == 3
    for stage in STAGES:
        assert seen[f"unmel_{stage}_seconds_count"] == 2
    assert seen["unmel_pack_items_sum"] == 2
    assert seen["unmel_pack_frames_sum"] == 20
    assert seen["unmel_audio_seconds_total"] == pytest.approx(2 * 2560 / 22050)
    assert seen["unmel_real_time_factor_count"] == 2
    assert seen["unmel_plan_cache_misses_total"] == 1
    assert seen["unmel_plan_cache_hits_total"] == 1


def test_a_batch_of_the_inference_protocol_goes_through_the_stages_once(
    fresh: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "unmel.access"):
        answer = infer(fresh)
    assert answer.status_code == 200
    timing = answer.headers["server-timing"]
    assert re.findall(r"(\w+);dur=[\d.]+", timing) == ["decode", "queue", "compute", "encode"]
    seen = shown(fresh)
    for stage in STAGES:
        assert seen[f"unmel_{stage}_seconds_count"] == 1
    assert 0 < seen["unmel_compute_seconds_sum"] < seen["unmel_request_seconds_sum" + INFER_LABEL]
    [line] = [record for record in caplog.records if record.name == "unmel.access"]
    assert {f"{stage}_seconds" for stage in STAGES} <= vars(line).keys()


def test_what_is_so_at_the_moment_is_shown(fresh: TestClient) -> None:
    reconstruct(fresh)
    seen = shown(fresh)
    assert seen["unmel_queue_items"] == seen["unmel_queue_cost_seconds"] == 0
    assert seen["unmel_held_bytes"] == 0
    assert seen["unmel_plan_cache_bytes"] > 0
    lanes = {state: seen[f'unmel_lanes{{state="{state}"}}'] for state in ("starting", "hung")}
    assert lanes == {"starting": 0, "hung": 0}
    assert seen['unmel_lanes{state="idle"}'] + seen['unmel_lanes{state="busy"}'] == 1
    assert seen["process_resident_memory_bytes"] > 0


def test_paths_that_clients_make_up_make_no_labels(fresh: TestClient) -> None:
    def make_up(n: int) -> int:
        fresh.get(f"/made/up/{n}")
        fresh.get(f"/presets/made-up-{n}")
        return len(shown(fresh))

    make_up(0)
    assert len({make_up(n) for n in range(1, 20)}) == 1


def test_names_are_of_one_family(fresh: TestClient) -> None:
    for name in re.findall(r"^# TYPE (\w+)", fresh.get("/metrics").text, re.M):
        assert name.startswith(("unmel_", "process_", "python_"))


def test_the_page_about_the_queue_names_every_metric_and_no_other(fresh: TestClient) -> None:
    page = (ROOT / "docs" / "queue.md").read_text()
    named = set(re.findall(r"`(unmel_\w+)[`{]", page))
    shown = set()
    for name, kind in re.findall(r"^# TYPE (unmel_\w+) (\w+)", fresh.get("/metrics").text, re.M):
        if not name.endswith("_created"):
            shown.add(name if kind != "counter" or name.endswith("_total") else f"{name}_total")
    assert named == shown


INFER_LABEL = '{route="/v2/models/{model}/infer"}'


def infer(client: TestClient, **headers: str) -> httpx.Response:
    """Two mels of five frames."""
    mels = {"name": "mel", "datatype": "FP32", "shape": [2, 80, 5], "data": [-5.0] * 800}
    body = {"inputs": [mels], "parameters": {"n_iter": 1}}
    return client.post("/v2/models/hifigan-22k/infer", json=body, headers=headers)


def reconstruct(client: TestClient, **headers: str) -> httpx.Response:
    """A mel of ten frames."""
    return client.post(
        "/reconstruct?config=hifigan-22k&n_iter=1", content=npy(), headers={**NPY, **headers}
    )


# --- traces -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "name"),
    [(reconstruct, "POST /reconstruct"), (infer, "POST /v2/models/{model}/infer")],
    ids=["reconstruct", "infer"],
)
def test_a_request_is_a_span_with_a_child_for_every_stage(
    fresh: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[..., httpx.Response],
    name: str,
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ask(fresh, traceparent=caller)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    root = spans[name]
    assert root.parent is not None
    assert format(root.parent.trace_id, "032x") == caller[3:35]
    assert root.attributes is not None
    assert root.attributes["unmel.frames"] == 10
    assert list(spans) == [*STAGES, name]
    ends = [root.start_time or 0]
    for stage in STAGES:
        span = spans[stage]
        assert span.parent is not None
        assert span.parent.span_id == root.context.span_id
        assert ends[-1] <= (span.end_time or 0)
        ends.append(span.end_time or 0)
    assert ends[-1] <= (root.end_time or 0) + 10**7


def test_without_an_endpoint_nothing_is_recorded(fresh: TestClient) -> None:
    reconstruct(fresh)
    assert not trace.get_current_span().is_recording()


def test_an_endpoint_without_the_extra_is_refused_at_start_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(Invalid, match=r"unmel\[otel\]"):
        tracing.configure("http://localhost:4318/v1/traces")
