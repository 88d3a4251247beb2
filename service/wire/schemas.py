"""What a client may ask for, and the JSON that the service answers with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from unmel.models.engine.items import Output
from unmel.models.engine.streams import DEFAULT_LOOKAHEAD, MAX_LOOKAHEAD, Options
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import preset
from unmel.models.mel.validate import Layout
from unmel.models.methods.inversion.inversions import INVERSIONS
from unmel.models.methods.joint.joints import JOINT
from unmel.models.methods.phase.phases import PHASES
from unmel.models.methods.recipe import (
    DEFAULT_INVERSION,
    DEFAULT_METHOD,
    DEFAULT_PHASE,
    DEFAULT_START,
    GIVEN,
)
from unmel.models.methods.schedule import DEFAULT_QUALITY, Quality
from unmel.models.methods.start.starts import STARTS
from unmel.service.queue.progress import StageName

Format = Literal["wav", "wav_f32", "flac", "ogg", "opus", "mp3", "pcm", "pcm_f32", "npy"]
Normalize = Literal["none", "peak", "loudness"]


def _config(value: object) -> object:
    """A preset's name, or a MelConfig as an object or, in a query string, as its JSON text."""
    if isinstance(value, str):
        if not value.lstrip().startswith("{"):
            return preset(value).config
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("not a preset's name and not the JSON of a MelConfig") from None
    return value


def _object(value: object) -> object:
    """An object, or in a query string its JSON text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("not the JSON of an object") from None
    return value


def _names(table: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The names of a table for the schema; `resolve` refuses any other."""
    return {"enum": [*table, *more]}


ConfigField = Annotated[MelConfig, BeforeValidator(_config)]
Params = Annotated[dict[str, float], BeforeValidator(_object)]


class ReconstructOptions(BaseModel):
    """Options of `POST /reconstruct`, in the query string, the form or the JSON body."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: ConfigField = Field(
        description="How the mel was made: a preset's name (GET /presets) or a MelConfig."
    )
    quality: Quality = Field(
        DEFAULT_QUALITY, description="How many iterations to spend: 1 : 5 : 20 in time."
    )
    method: str | None = Field(
        None,
        description=f"A joint method (GET /methods); {DEFAULT_METHOD} if nothing is named.",
        json_schema_extra=_names(JOINT),
    )
    inversion: str | None = Field(
        None,
        json_schema_extra=_names(INVERSIONS),
        description="Two stages instead: how mel becomes magnitude; "
        f"{DEFAULT_INVERSION} if only `phase` is named.",
    )
    phase: str | None = Field(
        None,
        json_schema_extra=_names(PHASES),
        description="Two stages instead: how magnitude becomes audio; "
        f"{DEFAULT_PHASE} if only `inversion` is named.",
    )
    start: str | None = Field(
        None,
        description=f"First phases; {DEFAULT_START}, or {GIVEN} if `phases` come along.",
        json_schema_extra=_names(STARTS, GIVEN),
    )
    params: Params = Field({}, description="Parameters of the phase or joint method, an object.")
    inversion_params: Params = Field({}, description="Parameters of the inversion, an object.")
    n_iter: int | None = Field(
        None,
        ge=0,
        description="Iterations, in place of the quality's. Of the default method as much work as "
        "so many over the whole band: three quarters are spent on its lower octaves.",
    )
    momentum: float | None = Field(
        None,
        ge=0,
        le=1.5,
        allow_inf_nan=False,
        description="Constant momentum, in place of the quality's schedule.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the start phases.")
    length: int | None = Field(
        None, ge=1, description="Samples to give; must be a length that gives as many frames."
    )
    format: Format | None = Field(
        None, description="Form of the audio; from the Accept header, or wav, if not given."
    )
    layout: Layout = Field("auto", description="Which axis of the mel holds the bands.")
    sample_rate: int | None = Field(
        None, ge=1000, le=384_000, description="Resample the audio to this, Hz."
    )
    normalize: Normalize = Field(
        "none",
        description="peak: the loudest sample at -1 dB of full scale; loudness: -23 LUFS "
        "(ITU-R BS.1770-4, EBU R 128).",
    )
    gain: float = Field(
        0.0, ge=-60, le=60, allow_inf_nan=False, description="dB, added after `normalize`."
    )
    output: Output = Field(
        "audio",
        description="audio, or as npy the linear magnitude or the complex STFT [N, T].",
    )


class _Streamed(BaseModel):
    """Options of whatever is made while it comes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: ConfigField = Field(
        description="How the mel is made: a preset's name (GET /presets) or a MelConfig."
    )
    quality: Quality = Field(DEFAULT_QUALITY, description="How many iterations to spend a frame.")
    lookahead: int = Field(
        DEFAULT_LOOKAHEAD,
        ge=1,
        le=MAX_LOOKAHEAD,
        description="Frames that are waited for before a frame's samples are settled.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the first phases.")

    @property
    def stream(self) -> Options:
        """As the engine takes them."""
        return Options(self.quality, self.lookahead, self.seed)


class StreamOptions(_Streamed):
    """The first message of `WS /stream`."""

    format: Literal["s16le", "f32le"] = Field("s16le", description="Form of the samples.")


def _no_mp3(value: object) -> object:
    if value == "mp3":
        raise ValueError(
            "ogg or opus, say: the beginning of an mp3 tells its length and its encoder's delay, "
            "which are known at its end"
        )
    return value


class ChunkedOptions(_Streamed):
    """Options of `POST /reconstruct?stream=true`."""

    format: Annotated[
        Literal["wav", "wav_f32", "flac", "ogg", "opus", "pcm", "pcm_f32"] | None,
        BeforeValidator(_no_mp3),
    ] = Field(None, description="Form of the audio; from the Accept header, or wav, if not given.")
    layout: Layout = Field("auto", description="Which axis of a whole mel holds the bands.")


class AnalyzeOptions(BaseModel):
    """Options of `POST /analyze`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: ConfigField = Field(
        description="The mel to make: a preset's name (GET /presets) or a MelConfig."
    )


class PresetInfo(BaseModel):
    """One row of `GET /presets`."""

    name: str
    project: str
    source: str = Field(description="The project's own file that the values were read from.")
    note: str
    config: MelConfig


class ParameterInfo(BaseModel):
    """A parameter of a method: the members of `params` or `inversion_params`."""

    name: str
    default: float
    lowest: float
    highest: float
    integer: bool
    meaning: str


class MethodInfo(BaseModel):
    """One row of `GET /methods`."""

    name: str
    kind: Literal["joint", "inversion", "phase", "start"]
    summary: str
    source: str
    cost: str = Field(description="What a frame costs.")
    parameters: list[ParameterInfo]
    default: bool = Field(description="Taken when the request names none of its kind.")


class QualityInfo(BaseModel):
    """What a quality of the joint method runs."""

    name: str
    power: int = Field(description="The mel's power that the row is for.")
    n_iter: int = Field(
        description="Work, in iterations over the whole band; up to twice as many where the "
        "config's lengths have fewer than four octaves."
    )
    momentum: tuple[float, float] = Field(description="In the first and the last iteration.")
    reflection: tuple[float, float] = Field(description="Likewise.")
    exponent: tuple[float, float] = Field(description="Likewise.")
    blend: tuple[float, float] = Field(description="Likewise.")
    turn: float = Field(description="Share of the circle that the start phases are drawn from.")
    shares: tuple[float, ...] = Field(
        description="Of the work, for each octave that is run on its own, the lowest first, and "
        "for the whole band."
    )


class Methods(BaseModel):
    """`GET /methods`."""

    methods: list[MethodInfo]
    qualities: list[QualityInfo]


class Progress(BaseModel):
    """`GET /progress/{request_id}`."""

    stage: StageName = Field(
        description="As in Server-Timing; unknown before the request came and after its answer, "
        "and where another replica has it."
    )
    ahead: int = Field(description="Requests in the queue that came before it.")
    elapsed: float | None = Field(description="Seconds since it came to the queue.")
    remaining: float | None = Field(
        description="Estimated seconds until it is computed; 0 when it takes longer than expected."
    )
    measured: bool = Field(
        description="Whether requests of its kind were timed lately; else `remaining` is a guess."
    )


class Health(BaseModel):
    """`GET /livez` and `GET /readyz`."""

    status: str
    version: str
    backend: str | None = None
    """Backend, its transforms and its device, of a service that is ready."""
    fft: str | None = None
    device: str | None = None
