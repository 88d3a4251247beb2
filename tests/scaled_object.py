"""KEDA's ScaledObject as a JSON schema: the fields of its documentation, and no others.

Kubernetes' schemas know no custom resources. From "ScaledObject specification" and "Prometheus" in
KEDA's documentation, 2.17 and later; `behavior` is Kubernetes' own, and is checked with its schema.
"""

from __future__ import annotations

from typing import Any


def _fields(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
SECONDS: dict[str, Any] = {"type": "integer", "minimum": 0}
FLAG: dict[str, Any] = {"type": "boolean"}
# KEDA reads the values of a trigger's metadata from texts alone.
NUMBER: dict[str, Any] = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
FLAG_TEXT: dict[str, Any] = {"enum": ["true", "false"]}

PROMETHEUS = _fields(
    *("serverAddress", "query", "threshold"),
    serverAddress={"type": "string", "pattern": "^https?://"},
    query=TEXT,
    threshold=NUMBER,
    activationThreshold=NUMBER,
    namespace=TEXT,
    customHeaders=TEXT,
    queryParameters=TEXT,
    ignoreNullValues=FLAG_TEXT,
    unsafeSsl=FLAG_TEXT,
    timeout=NUMBER,
    authModes=TEXT,
)

SPEC = _fields(
    *("scaleTargetRef", "triggers"),
    scaleTargetRef=_fields(
        "name", apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT
    ),
    pollingInterval=SECONDS,
    cooldownPeriod=SECONDS,
    initialCooldownPeriod=SECONDS,
    idleReplicaCount={"const": 0},
    minReplicaCount=COUNT,
    maxReplicaCount={"type": "integer", "minimum": 1},
    fallback=_fields(
        *("failureThreshold", "replicas"),
        failureThreshold=COUNT,
        replicas=COUNT,
        behavior={
            "enum": [
                "static",
                "currentReplicas",
                "currentReplicasIfHigher",
                "currentReplicasIfLower",
            ]
        },
    ),
    advanced=_fields(
        restoreToOriginalReplicaCount=FLAG,
        horizontalPodAutoscalerConfig=_fields(name=TEXT, behavior={"type": "object"}),
    ),
    triggers={
        "type": "array",
        "minItems": 1,
        "items": _fields(
            *("type", "metadata"),
            type={"const": "prometheus"},
            name=TEXT,
            metricType={"enum": ["AverageValue", "Value"]},
            useCachedMetrics=FLAG,
            authenticationRef=_fields("name", name=TEXT, kind=TEXT),
            metadata=PROMETHEUS,
        ),
    },
)

SCALED_OBJECT = _fields(
    *("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata=_fields(
        "name",
        name=TEXT,
        namespace=TEXT,
        labels={"type": "object", "additionalProperties": {"type": "string"}},
        annotations={"type": "object", "additionalProperties": {"type": "string"}},
    ),
    spec=SPEC,
)
