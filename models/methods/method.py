"""Method: a row of a table of methods, with its function, source, cost and parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig

# Time of a multiplication in a product, and of a bin in a pass, relative to that of a point in a
# pair of transforms; measured by benchmarks/costs.py.
_PRODUCT = 0.006
_PASS = 0.1


@dataclass(frozen=True)
class Parameter:
    """A numeric parameter of a method, with bounds."""

    name: str
    default: float
    lowest: float
    highest: float
    meaning: str
    integer: bool = False

    def check(self, value: object, where: str) -> float:
        """A client's value as a number.

        Parameters
        ----------
        value
            The value, of any type.
        where
            Name of the option that holds the parameter, for the error.

        Raises
        ------
        Invalid
            If it is no number, or out of bounds.
        """
        valid = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and self.lowest <= value <= self.highest
            and (not self.integer or value == int(value))
        )
        if not valid:
            kind = "an integer" if self.integer else "a number"
            want = f"{kind} {self.lowest:g} to {self.highest:g}"
            raise Invalid(f"{where}.{self.name}", repr(value)[:80], want)
        return self.as_number(float(value))  # type: ignore[arg-type] # `valid` implies a number

    def as_number(self, value: float) -> float:
        """The value as an int for an integer parameter."""
        return int(value) if self.integer else value


@dataclass(frozen=True)
class Work:
    """Work for a row of a pack, as counts of the expensive operations."""

    pairs: float = 0.0
    """Pairs of Fourier transforms, with overlap-add and the arithmetic of a bin between them."""
    products: float = 0.0
    """Products with the filterbank or a matrix of its shape."""
    passes: float = 0.0
    """Further passes over the row's bins."""

    def points(self, config: MelConfig) -> float:
        """Work in units of a point of a pair of transforms.

        Parameters
        ----------
        config
            The mel config, for the sizes.
        """
        dense = self.products * config.n_mels * _PRODUCT + self.passes * _PASS
        return self.pairs * config.n_fft + dense * config.n_bins

    def __str__(self) -> str:
        """The counts in words: "2 products and 1 pair of transforms"."""
        counts = (
            (self.products, "product", "products"),
            (self.pairs, "pair of transforms", "pairs of transforms"),
            (self.passes, "pass over the bins", "passes over the bins"),
        )
        words = [f"{n:g} {one if n == 1 else many}" for n, one, many in counts if n]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@dataclass(frozen=True)
class Cost:
    """Work of a method for a row: once, and in each of its steps."""

    once: Work | None = None
    step: Work | None = None
    name: str = "an iteration"
    """Name of a step, for clients."""
    steps: Callable[[Mapping[str, float], int], float] = lambda _, n_iter: n_iter
    """Usual number of steps for some parameters and a number of iterations."""
    step_for: Callable[[Mapping[str, float]], Work] | None = None
    """A step's work for some parameters, where they change it."""
    alone: float = 0.0
    """Points of overhead of a step, where frames are processed one by one."""
    compiled: float = 1.0
    """Share of a step's time with compiled loops."""
    note: str = ""

    def points(self, config: MelConfig, params: Mapping[str, float], n_iter: int = 0) -> float:
        """Work for a row in the units of `Work.points`.

        Parameters
        ----------
        config
            The mel config.
        params
            The method's parameters.
        n_iter
            Number of iterations, where a recipe has one.
        """
        step = self.step_for(params) if self.step_for else self.step
        once = self.once.points(config) if self.once else 0.0
        each = step.points(config) * self.compiled + self.alone if step else 0.0
        return once + each * self.steps(params, n_iter)

    def __str__(self) -> str:
        """The cost in words, for `GET /methods`."""
        parts = [str(self.once)] if self.once else []
        parts += [f"{self.step} {self.name}"] if self.step else []
        return ", and ".join(parts or ["nothing"]) + self.note


@dataclass(frozen=True)
class Method:
    """One row of a table of methods."""

    run: Callable[..., Any]
    source: str
    work: Cost
    parameters: tuple[Parameter, ...] = ()
    check: Callable[[Mapping[str, float]], None] | None = None
    """Raises Invalid for parameters that exclude each other."""
    bin_floats: float = 0.0
    """Floats of memory for each bin of a row, beyond those of every method."""
    sample_floats: float = 0.0
    """Floats of memory for each sample of a hop and each step of `history`."""
    in_blocks: bool = True
    """Whether it can continue from settled samples, as needed for the blocks of a long clip."""
    allows: Callable[[MelConfig], None] | None = None
    """Raises Invalid for a config that the method does not support."""
    host: str = ""
    """Part of the host in a GPU's run; empty where it only launches a few times."""

    @property
    def cost(self) -> str:
        """The cost of a frame, in words."""
        return str(self.work)

    @property
    def summary(self) -> str:
        """The first paragraph of the function's docstring."""
        return " ".join((inspect.getdoc(self.run) or "").split("\n\n")[0].split())

    def resolve(self, given: Mapping[str, object], where: str) -> tuple[tuple[str, float], ...]:
        """Values of all parameters: checked ones of the client, else defaults.

        Parameters
        ----------
        given
            The client's values by name.
        where
            Name of the option that holds them, for the error.

        Returns
        -------
        tuple of (str, float)
            Names and values, hashable.

        Raises
        ------
        Invalid
            For an unknown name, or a value that is out of bounds.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                names = ", ".join(known) or "no parameters"
                raise Invalid(f"{where}.{name[:40]}", "an unknown parameter", names)
        values = {
            name: p.check(given[name], where) if name in given else p.as_number(p.default)
            for name, p in known.items()
        }
        if self.check is not None:
            self.check(values)
        return tuple(values.items())
