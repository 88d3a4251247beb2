"""Recipe: which method a request runs, from where, for how long, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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

DEFAULT_METHOD = "consistent"
DEFAULT_INVERSION = "pinv"
DEFAULT_PHASE = "griffin_lim"
DEFAULT_START = "random"
GIVEN = "given"


@dataclass(frozen=True)
class Recipe:
    """One way to run: equal recipes can share a pack."""

    method: str
    """A joint method, or the phase method that follows `inversion`."""
    inversion: str | None
    schedule: Schedule
    start: str = DEFAULT_START
    """Name of the first phases; `GIVEN` when the items bring them."""
    params: tuple[tuple[str, float], ...] = ()
    """The method's parameters, every one."""
    inversion_params: tuple[tuple[str, float], ...] = ()
    """The inversion's parameters, every one."""

    @property
    def n_iter(self) -> int:
        return self.schedule.n_iter

    def points(self, config: MelConfig, *, magnitude_only: bool = False) -> float:
        """Work for a row of a pack, in units of a point of a pair of transforms.

        `magnitude_only` leaves the phases of a two-stage recipe out.
        """
        total = float(config.n_fft)  # into the pack and out of it
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
    power: int,
    *,
    octaves: int = MAX_OCTAVES,
    quality: Quality = DEFAULT_QUALITY,
    method: str | None = None,
    inversion: str | None = None,
    phase: str | None = None,
    start: str = DEFAULT_START,
    n_iter: int | None = None,
    momentum: float | None = None,
    params: Mapping[str, object] | None = None,
    inversion_params: Mapping[str, object] | None = None,
) -> Recipe:
    """The recipe that a request's options ask for; Invalid if none can be. `power` and `octaves`
    are the config's.

    Naming an `inversion` or a `phase` asks for two stages, naming a joint `method` for one.
    `n_iter` and `momentum` override what the quality says; between the qualities' own iteration
    counts a joint method's schedule is interpolated. `params` are the phase's or the joint
    method's own, `inversion_params` the inversion's.
    """
    two_stage = inversion is not None or phase is not None
    if two_stage and method is not None:
        raise Invalid(
            "method",
            f"{method!r} beside inversion or phase",
            "either a joint method, or an inversion and a phase",
        )
    own = not two_stage and method in (None, DEFAULT_METHOD)
    if n_iter is None:
        n_iter = iterations(power, octaves, quality) if own else ITERATIONS[quality]
    if start != GIVEN:
        _find(STARTS, start, "start")
    if two_stage:
        inversion, name = inversion or DEFAULT_INVERSION, phase or DEFAULT_PHASE
        runs: Method = _find(PHASES, name, "phase")
        schedule = Schedule(n_iter, Ramp(0.0, 0.0))
        inverts: Method = _find(INVERSIONS, inversion, "inversion")
        resolved = inverts.resolve(inversion_params or {}, "inversion_params")
    else:
        name = method or DEFAULT_METHOD
        runs = _find(JOINT, name, "method")
        # The schedules are the default's own; of another's only the number of iterations counts.
        schedule = joint_schedule(power, n_iter) if own else Schedule(n_iter, Ramp(0.0, 0.0))
        if inversion_params:
            raise Invalid("inversion_params", "parameters", "none without an inversion")
        resolved = ()
    given = dict(params or {})
    if momentum is not None and own:
        schedule = replace(schedule, momentum=Ramp(momentum, momentum))
    elif momentum is not None and "momentum" in given:
        raise Invalid("momentum", "a value beside params.momentum", "one value")
    elif momentum is not None:
        given["momentum"] = momentum
    return Recipe(name, inversion, schedule, start, runs.resolve(given, "params"), resolved)


def _find(table: Mapping[str, Any], name: str, option: str) -> Any:
    """The table's row of that name, or Invalid with the names there are."""
    if name not in table:
        raise Invalid(option, repr(name)[:80], "one of " + ", ".join(table))
    return table[name]
