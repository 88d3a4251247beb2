"""Objects that a client sends: null is "not given", and faults name the member that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

# An object with more members than any has is refused before its members are validated.
_MAX_MEMBERS = 64
_MAX_FAULTS = 16
# Names that are this much alike are taken for one misspelt.
_ALIKE = 0.78


def fault(field: str, got: str, expected: str) -> ValidationError:
    """Make the error of a validator, for one member among several.

    Parameters
    ----------
    field
        Member that is wrong; empty for the value that is validated.
    got
        Its value, in words.
    expected
        The values that would do beside the others, in words.
    """
    return _error([(field, got, expected)])


def _error(faults: Iterable[tuple[str, str, str]]) -> ValidationError:
    details = [
        InitErrorDetails(
            type=PydanticCustomError(
                "fault", "got {got}; expected {expected}", {"got": got, "expected": expected}
            ),
            loc=(field,) if field else (),
            input=None,
        )
        for field, got, expected in faults
    ]
    return ValidationError.from_exception_data("value", details)


class Members(BaseModel):
    """A frozen object without unknown members, whose defaults also stand for null.

    librosa's and torchaudio's own defaults are None, and configs of vocoders hold null: it counts
    as "not given", except for a member that has null among its values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    synonyms: ClassVar[Mapping[str, str]] = {}
    """Other projects' names of members, and the names to write here."""

    @classmethod
    def suggest(cls, name: str) -> str:
        """The name to write instead of an unknown member.

        Parameters
        ----------
        name
            The unknown name.
        """
        plain = name.lower().replace("-", "_")
        said = cls.synonyms.get(plain, "")
        if " " in said or said.strip("'") in cls.model_fields:
            return said
        alike = difflib.get_close_matches(plain[:80], cls.model_fields, 1, _ALIKE)
        return repr(alike[0]) if alike else "one of " + ", ".join(cls.model_fields)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        if len(data) > _MAX_MEMBERS:
            raise ValueError(f"at most {_MAX_MEMBERS} members")
        unknown = [str(name) for name in data if name not in cls.model_fields][:_MAX_FAULTS]
        if unknown:
            raise _error((name, "an unknown member", cls.suggest(name)) for name in unknown)
        return {
            name: value
            for name, value in data.items()
            if value is not None or cls._takes_null(name)
        }

    @classmethod
    def _takes_null(cls, name: Any) -> bool:
        """Whether null is a value of a member, as in `norm`."""
        return NoneType in get_args(cls.model_fields[name].annotation)
