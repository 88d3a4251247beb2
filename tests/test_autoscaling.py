"""KEDA's autoscaler is valid, fits the Deployment, and asks for the pods that a load needs."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.root import ROOT
from tests.scaled_object import SCALED_OBJECT
from tests.test_deployment import KUBERNETES, manifest
from unmel.models.engine.engine import Engine
from unmel.service.app import create_app
from unmel.service.ops.settings import Settings

[OBJECT] = yaml.safe_load_all((KUBERNETES / "keda" / "autoscaler.yaml").read_text())
SPEC = OBJECT["spec"]
AUTOSCALER = SPEC["advanced"]["horizontalPodAutoscalerConfig"]
TRIGGERS = {trigger["name"]: trigger for trigger in SPEC["triggers"]}
THRESHOLDS = {name: float(row["metadata"]["threshold"]) for name, row in TRIGGERS.items()}
LEAST, MOST = SPEC["minReplicaCount"], SPEC["maxReplicaCount"]

POD = manifest("Deployment")["spec"]["template"]["spec"]
LANES = int(POD["containers"][0]["resources"]["limits"]["cpu"])  # one for each core of the limit
SETTINGS = Settings()


def test_it_has_the_fields_that_keda_documents() -> None:
    jsonschema.Draft202012Validator.check_schema(SCALED_OBJECT)
    jsonschema.validate(OBJECT, SCALED_OBJECT)


def misspelt(spec: dict[str, Any]) -> None:
    spec["maxReplicas"] = spec.pop("maxReplicaCount")


def unquoted(spec: dict[str, Any]) -> None:
    spec["triggers"][0]["metadata"]["threshold"] = 10


def without_a_query(spec: dict[str, Any]) -> None:
    del spec["triggers"][0]["metadata"]["query"]


def unknown_fallback(spec: dict[str, Any]) -> None:
    spec["fallback"]["behavior"] = "currentReplicasIfhigher"


@pytest.mark.parametrize("spoil", [misspelt, unquoted, without_a_query, unknown_fallback])
def test_the_schema_sees_a_wrong_field(spoil: Callable[[dict[str, Any]], None]) -> None:
    wrong = copy.deepcopy(OBJECT)
    spoil(wrong["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCALED_OBJECT)


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
def test_the_autoscaler_that_keda_makes_of_it_is_one_that_kubernetes_takes(version: str) -> None:
    made = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": AUTOSCALER["name"]},
        "spec": {
            "scaleTargetRef": SPEC["scaleTargetRef"],
            "minReplicas": LEAST,
            "maxReplicas": MOST,
            "behavior": AUTOSCALER["behavior"],
        },
    }
    kubernetes_validate.validate(made, version, strict=True)


def test_it_scales_the_deployment_and_no_second_autoscaler_does() -> None:
    """It takes over the one on processor time, and is not among the files applied with that."""
    on_processor_time = manifest("HorizontalPodAutoscaler")
    assert SPEC["scaleTargetRef"] == on_processor_time["spec"]["scaleTargetRef"]
    assert SPEC["scaleTargetRef"]["name"] == manifest("Deployment")["metadata"]["name"]
    assert AUTOSCALER["name"] == on_processor_time["metadata"]["name"]
    transfer = "scaledobject.keda.sh/transfer-hpa-ownership"
    assert OBJECT["metadata"]["annotations"] == {transfer: "true"}
    core = {row["kind"] for row in yaml.safe_load_all((KUBERNETES / "unmel.yaml").read_text())}
    assert "HorizontalPodAutoscaler" not in core
    assert "replicas" not in manifest("Deployment")["spec"]


def test_both_autoscalers_keep_the_same_bounds() -> None:
    on_processor_time = manifest("HorizontalPodAutoscaler")["spec"]
    assert (on_processor_time["minReplicas"], on_processor_time["maxReplicas"]) == (LEAST, MOST)
    assert 1 <= LEAST <= SPEC["fallback"]["replicas"] <= MOST


def test_its_queries_give_one_number_from_metrics_that_the_service_shows() -> None:
    app = create_app(SETTINGS, Engine(backend="torch"))
    text = app.state.components.metrics.text().decode()
    shown = dict(re.findall(r"^# TYPE (unmel_\w+) (\w+)", text, re.M))
    for trigger in SPEC["triggers"]:
        query = trigger["metadata"]["query"]
        assert re.fullmatch(r'sum\(avg_over_time\(\w+(\{state="busy"\})?\[1m\]\)\)', query)
        [name] = re.findall(r"unmel_\w+", query)
        assert shown[name] == "gauge"
        assert trigger["metricType"] == "AverageValue"  # the sum, divided by the number of pods
    assert "unmel_queue_cost_seconds" in TRIGGERS["queue"]["metadata"]["query"]
    assert 'unmel_lanes{state="busy"}' in text


def test_the_queues_threshold_lies_well_before_refusals_and_deadlines() -> None:
    wait = THRESHOLDS["queue"] / LANES
    assert 2 * wait <= min(SETTINGS.max_queue_seconds, SETTINGS.deadline_seconds)
    rules = yaml.safe_load((ROOT / "docker" / "monitoring" / "alerts.yml").read_text())
    [alert] = [r for r in rules["groups"][0]["rules"] if r["alert"] == "UnmelQueues"]
    assert float(alert["expr"].split(">")[1]) == wait  # who is woken knows that pods did not help


def wanted(queued: float, busy: float) -> int:
    """The pods that Kubernetes makes of the triggers: the larger number, within the bounds."""
    asked = max(queued / THRESHOLDS["queue"], busy / THRESHOLDS["lanes"])
    return min(max(math.ceil(asked), LEAST), MOST)


@pytest.mark.parametrize("pods", range(LEAST, MOST))
def test_pods_that_keep_up_stay_although_nothing_waits(pods: int) -> None:
    """And those that are busy all the time get another one, long before they refuse."""
    assert wanted(0, busy=0.7 * LANES * pods) == pods
    assert wanted(0, busy=LANES * pods) > pods


def test_full_queues_ask_for_every_pod_at_once() -> None:
    full = SETTINGS.max_queue_seconds * LANES
    assert wanted(LEAST * full, busy=LEAST * LANES) == MOST
    assert wanted(0, 0) == LEAST


def test_the_last_pod_has_drained_before_the_next_one_is_taken_away() -> None:
    down = AUTOSCALER["behavior"]["scaleDown"]
    [policy] = down["policies"]
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert policy["periodSeconds"] > POD["terminationGracePeriodSeconds"]
    assert down["stabilizationWindowSeconds"] >= 300
