"""The OpenAPI document keeps the names that clients are generated from."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tests.service.engines import TestEngine
from unmel.service.app import create_app
from unmel.service.errors import Overloaded
from unmel.service.ops.settings import Settings
from unmel.service.web.openapi_problems import SCHEMA
from unmel.service.wire.problems import problem_body
from unmel.service.wire.schemas import ReconstructOptions

# Clients have functions of these names. A new route adds a row; a row that changes breaks them, and
# belongs into the changelog.
OPERATIONS = {
    "reconstruct": "post /reconstruct",
    "analyze": "post /analyze",
    "progress": "get /progress/{request_id}",
    "presets": "get /presets",
    "preset": "get /presets/{name}",
    "methods": "get /methods",
    "livez": "get /livez",
    "readyz": "get /readyz",
    "metrics": "get /metrics",
    "v2_server": "get /v2",
    "v2_live": "get /v2/health/live",
    "v2_ready": "get /v2/health/ready",
    "v2_model": "get /v2/models/{model}",
    "v2_model_version": "get /v2/models/{model}/versions/{version}",
    "v2_model_ready": "get /v2/models/{model}/ready",
    "v2_model_version_ready": "get /v2/models/{model}/versions/{version}/ready",
    "v2_infer": "post /v2/models/{model}/infer",
    "v2_infer_version": "post /v2/models/{model}/versions/{version}/infer",
}
# Likewise their models; those of options and enumerations come from these.
SCHEMAS = {
    *("ReconstructJson", "ReconstructForm", "AnalyzeForm", "PresetName", "MelConfig"),
    *("LinearScale", "LogScale", "DecibelScale", "CoquiScale", "WhisperScale"),
    *("PresetInfo", "Methods", "MethodInfo", "ParameterInfo", "QualityInfo"),
    *("Progress", "Health", "Problem"),
    *("Tensor", "InferenceRequest", "InferenceAnswer", "InferenceError"),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = create_app(Settings(lanes=1, warm_presets=()), TestEngine())
    assert app.openapi() == app.openapi()
    return app.openapi()


def test_every_operation_keeps_its_id(document: dict[str, Any]) -> None:
    found = [
        (operation["operationId"], f"{verb} {path}")
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
    ]
    assert len(dict(found)) == len(found)
    assert dict(found) == OPERATIONS


def test_every_schema_keeps_its_name_and_is_named_by_something(document: dict[str, Any]) -> None:
    assert set(document["components"]["schemas"]) == SCHEMAS
    named = re.findall(r"'#/components/schemas/(\w+)'", str(document))
    assert set(named) == SCHEMAS


def test_every_member_of_a_problem_is_documented() -> None:
    with pytest.raises(ValidationError) as caught:
        ReconstructOptions.model_validate({"config": "hifigan-22k", "n_iter": -1, "seed": -1})
    problem = problem_body(caught.value, 422) | problem_body(Overloaded("queue", "Full.", 1.0), 503)
    assert len(problem["errors"]) == 2
    schema = {**SCHEMA, "additionalProperties": False}
    jsonschema.validate(problem, schema)


def test_every_problem_is_of_one_schema(document: dict[str, Any]) -> None:
    """Also the 422 that FastAPI supposes, in a form that the service does not send."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                schema = answer.get("content", {}).get("application/problem+json", {}).get("schema")
                assert schema in (None, {"$ref": "#/components/schemas/Problem"})


def test_no_query_parameter_has_a_default_that_a_client_would_send(
    document: dict[str, Any],
) -> None:
    """What it sends in the query may not be in the body too; the description has the default."""
    parameters = document["paths"]["/reconstruct"]["post"]["parameters"]
    assert all("default" not in row.get("schema", {}) for row in parameters)
    [quality] = [row for row in parameters if row["name"] == "quality"]
    assert quality["description"].endswith("Default: standard.")
