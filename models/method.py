"""Method: a function of the field with its source, its cost and its parameters, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import Invalid


@dataclass(frozen=True)
class Parameter:
    """A number that a method can be given; its bounds are checked before any work."""

    name: str
    default: float
    lowest: float
    highest: float
    meaning: str
    integer: bool = False

    def check(self, value: object, where: str) -> float:
        """`value` as a number within the bounds, or Invalid."""
        want = f"{'an integer' if self.integer else 'a number'} {self.lowest:g} to {self.highest:g}"
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not self.lowest <= float(value) <= self.highest:  # type: ignore[arg-type] # `good` says it is a number
            raise Invalid(f"{where}.{self.name}", repr(value)[:80], want)
        if self.integer and value != int(value):  # type: ignore[call-overload] # likewise
            raise Invalid(f"{where}.{self.name}", repr(value)[:80], want)
        return self.as_number(float(value))  # type: ignore[arg-type] # likewise

    def as_number(self, value: float) -> float:
        """The value as its kind: an int where it counts something."""
        return int(value) if self.integer else value


@dataclass(frozen=True)
class Method:
    """One row of a module's table of methods."""

    run: Callable[..., Any]
    source: str
    cost: str
    """What a frame costs, in products with the filterbank and in pairs of Fourier transforms."""
    parameters: tuple[Parameter, ...] = ()
    check: Callable[[Mapping[str, float]], None] | None = None
    """Raises Invalid for values that do not go together."""
    bin_floats: float = 0.0
    """Floats that it keeps for each bin of a row, beside what every method does."""
    sample_floats: float = 0.0
    """Likewise for each sample of a hop and step of its history."""
    in_blocks: bool = True
    """Whether it can go on from samples that are settled, as a long clip's blocks do."""

    @property
    def summary(self) -> str:
        """The first paragraph of the function's docstring."""
        return " ".join((inspect.getdoc(self.run) or "").split("\n\n")[0].split())

    def resolve(self, given: Mapping[str, object], where: str) -> tuple[tuple[str, float], ...]:
        """Every parameter's value, hashable: what is given, checked, over the defaults.

        `where` names the option in an Invalid.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                have = ", ".join(known) or "no parameters"
                raise Invalid(f"{where}.{name[:40]}", "a parameter that it does not have", have)
        values = {
            name: p.check(given[name], where) if name in given else p.as_number(p.default)
            for name, p in known.items()
        }
        if self.check is not None:
            self.check(values)
        return tuple(values.items())
