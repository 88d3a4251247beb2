"""GET /presets and GET /methods: presets, methods and the schedules of the qualities."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter

from unmel.models.mel import PRESETS, Preset
from unmel.models.methods import (
    DEFAULT_INVERSION,
    DEFAULT_METHOD,
    DEFAULT_PHASE,
    DEFAULT_START,
    INVERSIONS,
    JOINT,
    PHASES,
    QUALITIES,
    STARTS,
    Method,
)
from unmel.service.errors import NotFound
from unmel.service.web.openapi_problems import NO_PRESET
from unmel.service.wire.schemas import MethodInfo, Methods, ParameterInfo, PresetInfo, QualityInfo

router = APIRouter(tags=["about"])

Kind = Literal["joint", "inversion", "phase", "start"]
_KINDS: tuple[tuple[Kind, dict[str, Method], str], ...] = (
    ("joint", JOINT, DEFAULT_METHOD),
    ("inversion", INVERSIONS, DEFAULT_INVERSION),
    ("phase", PHASES, DEFAULT_PHASE),
    ("start", STARTS, DEFAULT_START),
)


@router.get("/presets", operation_id="presets")
async def presets() -> list[PresetInfo]:
    """Every named mel config, with its source."""
    return [preset_info(row) for row in PRESETS.values()]


@router.get("/presets/{name}", operation_id="preset", responses=NO_PRESET)
async def one_preset(name: str) -> PresetInfo:
    """One named mel config."""
    if name not in PRESETS:
        raise NotFound("name", repr(name[:80]), "one of " + ", ".join(PRESETS))
    return preset_info(PRESETS[name])


def preset_info(row: Preset) -> PresetInfo:
    """What is told of a preset."""
    return PresetInfo(
        name=row.name, project=row.project, source=row.source, note=row.note, config=row.config
    )


@router.get("/methods", operation_id="methods")
async def methods() -> Methods:
    """Every method by name, and the schedules of the joint method's qualities."""
    return methods_info()


def methods_info() -> Methods:
    """What is told of the methods and the qualities."""
    return Methods(
        methods=[
            _method_info(name, kind, method, default=name == default)
            for kind, table, default in _KINDS
            for name, method in table.items()
        ],
        qualities=[
            QualityInfo(
                name=name,
                power=power,
                n_iter=schedule.n_iter,
                momentum=(schedule.momentum.first, schedule.momentum.last),
                reflection=(schedule.reflection.first, schedule.reflection.last),
                exponent=(schedule.exponent.first, schedule.exponent.last),
                blend=(schedule.blend.first, schedule.blend.last),
                turn=schedule.turn,
                shares=schedule.shares,
                comb=schedule.comb,
            )
            for power, table in QUALITIES.items()
            for name, schedule in table.items()
        ],
    )


def _method_info(name: str, kind: Kind, method: Method, *, default: bool) -> MethodInfo:
    return MethodInfo(
        name=name,
        kind=kind,
        summary=method.summary,
        source=method.source,
        cost=method.cost,
        host=method.host,
        parameters=[ParameterInfo(**asdict(parameter)) for parameter in method.parameters],
        default=default,
    )
