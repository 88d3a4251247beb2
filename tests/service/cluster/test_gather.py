"""Metrics of several replicas as one text that Prometheus reads, and the configs that they know."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from unmel.service.cluster.gather import gather
from unmel.service.cluster.routing import RecentConfigs, config_fingerprint


def text(count: int) -> str:
    """A replica that has done so much."""
    registry = CollectorRegistry()
    Counter("done", "Done.", registry=registry).inc(count)
    by = Histogram("took", "With { and } and spaces.", ["route"], buckets=(1,), registry=registry)
    by.labels("/a b{c}").observe(count)
    return generate_latest(registry).decode()


def test_every_sample_is_there_once_with_its_replica_and_no_family_twice() -> None:
    families = list(text_string_to_metric_families(gather({"one": text(1), "two": text(5)})))
    assert len({family.name for family in families}) == len(families)
    values = {
        (sample.name, sample.labels["replica"]): sample.value
        for family in families
        for sample in family.samples
    }
    assert values["done_total", "one"] == 1
    assert values["done_total", "two"] == 5
    assert values["took_sum", "two"] == 5
    [took] = [family for family in families if family.name == "took"]
    assert {sample.labels["route"] for sample in took.samples} == {"/a b{c}"}
    assert took.type == "histogram"


def test_of_no_replica_there_is_nothing() -> None:
    assert gather({}) == ""


@pytest.mark.parametrize(
    ("query", "same"),
    [
        (b"config=hifigan-22k&seed=1", True),
        (b"seed=2&config=hifigan-22k", True),
        (b"config=hifigan%2D22k", True),
        (b"config=vocos-24k", False),
    ],
)
def test_a_config_is_known_by_its_text(query: bytes, same: bool) -> None:
    assert (config_fingerprint(query) == config_fingerprint(b"config=hifigan-22k")) is same


def test_a_query_without_a_config_has_no_mark() -> None:
    assert config_fingerprint(b"seed=1") is None


def test_the_latest_configs_are_remembered() -> None:
    recent = RecentConfigs(2)
    for mark in ("a", "b", "a", "c"):
        recent.note(mark)
    assert recent.fingerprints == ["a", "c"]
