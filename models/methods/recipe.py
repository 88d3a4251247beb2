"""Recipe: a request's methods, start phases, schedule and parameters, resolved from its options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from unmel.models.errors import Invalid
from unmel.models.mel.config import MAX_OCTAVES, MelConfig
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.method import Method
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.schedule import (
    DEFAULT_QUALITY,
    ITERATIONS,
    Quality,
    Ramp,
    Schedule,
    iterations,
    joint_schedule,
)
from unmel.models.methods.start.starts import STARTS

Harmonics = Literal["auto", "off"]
DEFAULT_HARMONICS: Harmonics = "auto"
Fit = Literal["exact", "relaxed"]
DEFAULT_FIT: Fit = "exact"
DEFAULT_METHOD = "consistent"
DEFAULT_INVERSION = "pinv"
DEFAULT_PHASE = "griffin_lim"
DEFAULT_START = "random"
GIVEN = "given"
MAX_MOMENTUM = 1.5


@dataclass(frozen=True)
class Recipe:
    """A resolved choice of methods and parameters; clips of equal recipes can share a pack."""

    method: str
    """A joint method, or the phase method that follows `inversion`."""
    inversion: str | None
    schedule: Schedule
    start: str = DEFAULT_START
    """Name of the start phases; `GIVEN` for phases from the client."""
    params: tuple[tuple[str, float], ...] = ()
    """All parameters of the method."""
    inversion_params: tuple[tuple[str, float], ...] = ()
    """All parameters of the inversion."""

    @property
    def n_iter(self) -> int:
        """Number of iterations of the method."""
        return self.schedule.n_iter

    def points(self, config: MelConfig, *, magnitude_only: bool = False) -> float:
        """Work for a row of a pack, in units of a point of a pair of transforms.

        Parameters
        ----------
        config
            The mel config.
        magnitude_only
            Whether the phases of a two-stage recipe are left out.
        """
        total = float(config.n_fft)  # copies into the pack and out of it
        phases = JOINT
        if self.inversion is not None:
            params = dict(self.inversion_params)
            total += INVERSIONS[self.inversion].work.points(config, params)
            if magnitude_only:
                return total
            phases = PHASES
        if self.start != GIVEN:
            total += STARTS[self.start].work.points(config, {})
        return total + phases[self.method].work.points(config, dict(self.params), self.n_iter)


def resolve(
    power: float,
    *,
    octaves: int = MAX_OCTAVES,
    quality: Quality = DEFAULT_QUALITY,
    method: str | None = None,
    inversion: str | None = None,
    phase: str | None = None,
    start: str = DEFAULT_START,
    n_iter: int | None = None,
    momentum: float | None = None,
    harmonics: Harmonics = DEFAULT_HARMONICS,
    fit: Fit = DEFAULT_FIT,
    params: Mapping[str, object] | None = None,
    inversion_params: Mapping[str, object] | None = None,
) -> Recipe:
    """The recipe of a request's options.

    An `inversion` or a `phase` selects two stages, a joint `method` one.

    Parameters
    ----------
    power
        Power of the config's mel.
    octaves
        The config's octaves below the whole band.
    quality
        Sets the number of iterations and the schedule.
    method
        Name of a joint method.
    inversion
        Name of an inversion.
    phase
        Name of a phase method.
    start
        Name of the start phases, or `GIVEN`.
    n_iter
        Overrides the quality's number of iterations; the schedule is interpolated for it.
    momentum
        Overrides the quality's momentum.
    harmonics
        Whether the default method has its pitch comb; never from phases of the client.
    fit
        Whether the default method keeps to the mel to the end, or less and less.
    params
        Parameters of the joint or phase method.
    inversion_params
        Parameters of the inversion.

    Raises
    ------
    Invalid
        For unknown names, parameters out of bounds, and options that exclude each other.
    """
    two_stage = inversion is not None or phase is not None
    if two_stage and method is not None:
        raise Invalid(
            "method",
            f"{method!r} beside inversion or phase",
            "either a joint method, or an inversion and a phase",
        )
    is_default = not two_stage and method in (None, DEFAULT_METHOD)
    check_choice("harmonics", harmonics, get_args(Harmonics))
    check_choice("fit", fit, get_args(Fit))
    check_choice("quality", quality, get_args(Quality))
    _check_numbers(n_iter, momentum)
    if n_iter is None:
        n_iter = iterations(power, octaves, quality) if is_default else ITERATIONS[quality]
    if start != GIVEN:
        _find(STARTS, start, "start")
    if two_stage:
        inversion, name = inversion or DEFAULT_INVERSION, phase or DEFAULT_PHASE
        row: Method = _find(PHASES, name, "phase")
        schedule = Schedule(n_iter, Ramp(0.0, 0.0))
        inversion_row: Method = _find(INVERSIONS, inversion, "inversion")
        resolved = inversion_row.resolve(inversion_params or {}, "inversion_params")
    else:
        name = method or DEFAULT_METHOD
        row = _find(JOINT, name, "method")
        # Only the default method has ramps; the others take just the number of iterations.
        schedule = joint_schedule(power, n_iter) if is_default else Schedule(n_iter, Ramp(0.0, 0.0))
        if inversion_params:
            raise Invalid("inversion_params", "parameters", "none without an inversion")
        resolved = ()
    given = dict(params or {})
    if momentum is not None and is_default:
        schedule = replace(schedule, momentum=Ramp(momentum, momentum))
    elif momentum is not None and "momentum" in given:
        raise Invalid("momentum", "a value beside params.momentum", "one value")
    elif momentum is not None:
        given["momentum"] = momentum
    if fit == "relaxed":
        schedule = schedule.relaxed()
    if harmonics == "off" or start == GIVEN:
        schedule = replace(schedule, comb=0.0)
    return Recipe(name, inversion, schedule, start, row.resolve(given, "params"), resolved)


def _check_numbers(n_iter: int | None, momentum: float | None) -> None:
    if n_iter is not None and n_iter < 0:
        raise Invalid("n_iter", str(n_iter), "at least 0")
    if momentum is not None and not 0.0 <= momentum <= MAX_MOMENTUM:
        raise Invalid("momentum", str(momentum), f"0 to {MAX_MOMENTUM}")


def check_choice(option: str, value: str, known: Collection[str]) -> None:
    """Raise Invalid with the known values for an option that has another."""
    if value not in known:
        raise Invalid(option, repr(value)[:80], "one of " + ", ".join(known))


def _find(table: Mapping[str, Any], name: str, option: str) -> Any:
    """The table's row of a name; Invalid with the known names otherwise."""
    check_choice(option, name, table)
    return table[name]
