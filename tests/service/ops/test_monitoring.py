"""The dashboard and the alerts ask for metrics that there are."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.root import ROOT
from unmel.models.engine.engine import Engine
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings

MONITORING = ROOT / "docker" / "monitoring"


def families() -> dict[str, str]:
    """Type by name of everything that a service shows."""
    engine = Engine(backend="torch")
    engine.load()  # the metric of the backend is there once it has been chosen
    with TestClient(create_app(Settings(lanes=1, warm_presets=()), engine)) as client:
        text = client.get("/metrics").text
    return {
        family.name: family.type
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")  # when each of the others began
    }


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    return families()


def series(shown: dict[str, str]) -> set[str]:
    """The names that an expression may hold."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {name + end for name, kind in shown.items() for end in suffixes.get(kind, ("",))}


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:unmel|process)_[a-z_]+\b", expression))


def test_every_panel_asks_for_metrics_that_there_are_and_every_metric_has_one(
    shown: dict[str, str],
) -> None:
    board = json.loads((MONITORING / "grafana" / "dashboards" / "unmel.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = set().union(*(asked(expression) for expression in expressions))
    assert names <= series(shown)
    stems = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in names}
    assert {name for name in shown if name.startswith("unmel_")} <= stems


def test_every_alert_asks_for_metrics_that_there_are(shown: dict[str, str]) -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    assert rules
    for rule in rules:
        assert asked(rule["expr"]) <= series(shown)
        assert asked(rule["expr"]) or rule["expr"].startswith("up{")


def test_the_operations_page_says_what_to_do_about_every_metric_and_setting(
    shown: dict[str, str],
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    told = {name.removesuffix("_total") for name in re.findall(r"^\| `(unmel_\w+)", page, re.M)}
    assert told == {name for name in shown if name.startswith("unmel_")}
    settings = {f"UNMEL_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"^\| `(UNMEL_\w+)`", page, re.M)) == settings


def test_what_is_counted_by_several_labels_is_summed_over_those_that_are_not_asked_for() -> None:
    """A label that is added must not split what a panel or an alert takes for one number."""
    board = json.loads((MONITORING / "grafana" / "dashboards" / "unmel.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for expression in [*expressions, *(rule["expr"] for rule in rules)]:
        counted = re.findall(r"unmel_(?:requests|refused|streams_ended)_total", expression)
        summed = re.findall(
            r"sum by \([a-z, ]+\) \(rate\(unmel_(?:requests|refused|streams_ended)_total",
            expression,
        )
        assert len(summed) == len(counted)
