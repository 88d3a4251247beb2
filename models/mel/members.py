"""Objects that a client sends: null is "not given", and faults name the member that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator

# An object with more members than any has is refused before its members are validated.
_MAX_MEMBERS = 64


class Members(BaseModel):
    """A frozen object without unknown members, whose defaults also stand for null.

    librosa's and torchaudio's own defaults are None, and configs of vocoders hold null: it counts
    as "not given", except for a member that has null among its values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        if len(data) > _MAX_MEMBERS:
            raise ValueError(f"at most {_MAX_MEMBERS} members")
        return {
            name: value
            for name, value in data.items()
            if value is not None or cls._takes_null(name)
        }

    @classmethod
    def _takes_null(cls, name: Any) -> bool:
        """Whether null is a value of a member, as in `norm`; true for unknown members."""
        field = cls.model_fields.get(name)
        return field is None or NoneType in get_args(field.annotation)
