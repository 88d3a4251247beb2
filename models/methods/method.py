"""Method: a function of the field with its source, its cost and its parameters, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig

# Seconds of a multiplication of a product, and of a bin of a pass, in those of a point of a pair.
PRODUCT = 0.006
PASS = 0.1


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
class Work:
    """What is done for a row of a pack, counted in what takes the time."""

    pairs: float = 0.0
    """Pairs of Fourier transforms, with overlap-add and what is done to each bin between them."""
    products: float = 0.0
    """Products with the filterbank or a matrix of its shape."""
    passes: float = 0.0
    """Sweeps over the row's bins beside those."""

    def points(self, config: MelConfig) -> float:
        """In units of a point of a pair of transforms; the two weights are measured
        (benchmarks/costs.py).
        """
        dense = PRODUCT * config.n_mels * config.n_bins
        return (
            self.pairs * config.n_fft + self.products * dense + self.passes * PASS * config.n_bins
        )

    def __str__(self) -> str:
        """In words: "2 products and 1 pair of transforms"."""
        counts = (
            (self.products, "product", "products"),
            (self.pairs, "pair of transforms", "pairs of transforms"),
            (self.passes, "pass over the bins", "passes over the bins"),
        )
        said = [f"{n:g} {one if n == 1 else many}" for n, one, many in counts if n]
        return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


@dataclass(frozen=True)
class Cost:
    """What a method takes for a row: once, and in each of its steps."""

    once: Work | None = None
    step: Work | None = None
    name: str = "an iteration"
    """What a step is called."""
    steps: Callable[[Mapping[str, float], int], float] = lambda _, n_iter: n_iter
    """How many it usually makes, of its parameters and the number of iterations."""
    turns: Callable[[Mapping[str, float]], Work] | None = None
    """A step's work where parameters change it."""
    alone: float = 0.0
    """Points that a step's calls cost beside its work, where frames go one by one."""
    compiled: float = 1.0
    """Share of a step's time that is left where its loops are compiled."""
    note: str = ""

    def points(self, config: MelConfig, params: Mapping[str, float], n_iter: int = 0) -> float:
        """Of a row, in the units of `Work.points`."""
        step = self.turns(params) if self.turns else self.step
        total = self.once.points(config) if self.once else 0.0
        each = step.points(config) * self.compiled + self.alone if step else 0.0
        return total + each * self.steps(params, n_iter)

    def __str__(self) -> str:
        """In words, as `GET /methods` gives it."""
        parts = [str(self.once)] if self.once else []
        parts += [f"{self.step} {self.name}"] if self.step else []
        return ", and ".join(parts or ["nothing"]) + self.note


@dataclass(frozen=True)
class Method:
    """One row of a module's table of methods."""

    run: Callable[..., Any]
    source: str
    work: Cost
    parameters: tuple[Parameter, ...] = ()
    check: Callable[[Mapping[str, float]], None] | None = None
    """Raises Invalid for values that do not go together."""
    bin_floats: float = 0.0
    """Floats that it keeps for each bin of a row, beside what every method does."""
    sample_floats: float = 0.0
    """Likewise for each sample of a hop and step of its history."""
    in_blocks: bool = True
    """Whether it can go on from samples that are settled, as a long clip's blocks do."""
    allows: Callable[[MelConfig], None] | None = None
    """Raises Invalid for a config that it cannot be used with."""

    @property
    def cost(self) -> str:
        """What a frame costs, in words."""
        return str(self.work)

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
