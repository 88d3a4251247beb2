"""What deploys the service is valid, and agrees with the settings and with itself."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.root import ROOT
from unmel.service.ops.settings import Settings

KUBERNETES = ROOT / "docker" / "kubernetes"
# What `kubectl apply -f docker/kubernetes/` takes; it does not go into folders.
MANIFESTS = [
    row
    for file in sorted(KUBERNETES.glob("*.yaml"))
    for row in yaml.safe_load_all(file.read_text())
]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
DRAIN = Settings().drain_seconds


def manifest(kind: str) -> dict[str, Any]:
    [found] = [row for row in MANIFESTS if row["kind"] == kind]
    return dict(found)


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("row", MANIFESTS, ids=lambda row: row["kind"])
def test_every_manifest_is_one_that_kubernetes_takes(row: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(row, version, strict=True)


def test_the_validator_sees_a_wrong_field() -> None:
    wrong = {**manifest("Service"), "spec": {"portz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.31", strict=True)


def test_every_manifest_means_the_same_pods() -> None:
    labels = {"app.kubernetes.io/name": "unmel"}
    template = manifest("Deployment")["spec"]["template"]
    assert template["metadata"]["labels"] == labels
    assert manifest("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == manifest("Deployment")["metadata"]["name"]


def test_what_was_accepted_has_its_time_to_end_wherever_it_runs() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    pause = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + DRAIN
    for name in ("unmel", "unmel-gpu"):
        assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) > DRAIN
    [ray] = yaml.safe_load((ROOT / "docker" / "serve.yaml").read_text())["applications"]
    assert ray["deployments"][0]["graceful_shutdown_timeout_s"] > DRAIN


def test_the_user_and_the_port_are_the_images() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    uid = pod["securityContext"]["runAsUser"]
    assert f"USER {uid}:{uid}" in DOCKERFILE
    [port] = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)
    assert pod["containers"][0]["ports"][0]["containerPort"] == int(port)
    assert COMPOSE["services"]["unmel"]["ports"][0].endswith(f":{port}")


@pytest.mark.parametrize("name", ["unmel", "unmel-gpu", "prometheus", "grafana"])
def test_no_service_of_the_compose_file_may_do_more_than_it_must(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_routes_of_the_probes_are_there() -> None:
    probes = manifest("Deployment")["spec"]["template"]["spec"]["containers"][0]
    asked = {probes[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")}
    assert asked == {"/readyz"}
    assert probes["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert "/readyz" in DOCKERFILE
