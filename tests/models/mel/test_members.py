"""Objects that a client sends: null is "not given", and faults name the member that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from unmel.models.mel.config import MelConfig
from unmel.models.mel.scale import CoquiScale, DecibelScale, LogScale

BASE: dict[str, Any] = {
    "sample_rate": 22050,
    "n_fft": 1024,
    "hop_length": 256,
    "n_mels": 80,
    "scale": "ln",
}
OPTIONAL = [name for name, field in MelConfig.model_fields.items() if not field.is_required()]


@pytest.mark.parametrize("name", [name for name in OPTIONAL if name != "norm"])
def test_null_is_not_given_in_every_member_with_a_default(name: str) -> None:
    assert MelConfig.model_validate({**BASE, name: None}) == MelConfig(**BASE)


def test_null_keeps_its_meaning_where_it_has_one() -> None:
    assert MelConfig.model_validate({**BASE, "norm": None}).norm is None
    assert DecibelScale.model_validate({"kind": "db", "top_db": None}).top_db is None


@pytest.mark.parametrize("name", BASE)
def test_null_in_a_required_member_is_missing(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}\n  Field required"):
        MelConfig.model_validate({**BASE, name: None})


@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        ("ln", LogScale(kind="ln")),
        ("log10", LogScale(kind="log10")),
        ("db", DecibelScale()),
        ("coqui", CoquiScale()),
    ],
)
def test_null_in_a_scale_is_its_default(kind: str, scale: Any) -> None:
    nulls = dict.fromkeys(type(scale).model_fields)
    config = MelConfig.model_validate({**BASE, "scale": {**nulls, "kind": kind}})
    assert config.scale == scale
