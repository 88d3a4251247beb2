"""Options of requests, and JSON of answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo

from unmel.models.engine import DEFAULT_LOOKAHEAD, MAX_LOOKAHEAD, Options, Output
from unmel.models.errors import Invalid
from unmel.models.mel import CONFIG_SYNONYMS, Layout, MelConfig, Members, preset
from unmel.models.methods import (
    DEFAULT_FIT,
    DEFAULT_HARMONICS,
    DEFAULT_INVERSION,
    DEFAULT_METHOD,
    DEFAULT_PHASE,
    DEFAULT_QUALITY,
    DEFAULT_START,
    GIVEN,
    INVERSIONS,
    JOINT,
    MAX_MOMENTUM,
    PHASES,
    STARTS,
    Fit,
    Harmonics,
    Quality,
)
from unmel.service.ops.metrics import Stage
from unmel.service.wire.codecs import parse_json_array
from unmel.service.wire.filterbanks import FIELD, HeldFilterbanks
from unmel.service.wire.problems import brief

Format = Literal["wav", "wav_f32", "flac", "ogg", "opus", "mp3", "pcm", "pcm_f32", "npy"]
Normalize = Literal["none", "peak", "loudness"]
Peak = Literal["limit", "scale", "clip"]
StreamPeak = Literal["limit", "clip"]


_CONFIG_WANTED = "a preset's name (GET /presets), or a MelConfig as an object or JSON"


def _config(value: object, info: ValidationInfo) -> object:
    """Parse a config: a preset's name, or a MelConfig as an object or as JSON text.

    A validation's context is the `HeldFilterbanks` that the config may name one of.
    """
    if isinstance(value, str):
        if not value.lstrip().startswith("{"):
            return preset(value).config
        value = _config_of(value)
    if not isinstance(value, dict | MelConfig):
        raise ValueError(_CONFIG_WANTED)
    bank = value.get("filterbank") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(bank, str | list | dict):
        return value
    if isinstance(bank, str):
        held: HeldFilterbanks = info.context or HeldFilterbanks(0)
        return {**value, "filterbank": held.find(bank)}
    return {**value, "filterbank": parse_json_array(FIELD, bank)}


def _config_of(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(_CONFIG_WANTED) from None


def config_with(config: object, bank: NDArray[Any]) -> object:
    """A config as a client gives it, with the array `filterbank` of the body.

    Raises
    ------
    Invalid
        The config is a preset's name, or names a filterbank itself.

    """
    if isinstance(config, str) and config.lstrip().startswith("{"):
        try:
            config = _config_of(config)
        except ValueError:
            return config  # it is refused with the other options
    if isinstance(config, str):
        raise Invalid("filterbank", f"an array beside config {brief(config)}", "a MelConfig")
    if not isinstance(config, dict):
        return config
    if config.get("filterbank") is not None:
        raise Invalid("filterbank", f"an array beside {FIELD}", "one of them")
    return {**config, "filterbank": bank}


def _object(value: object) -> object:
    """Parse an object, or its JSON text in a query string; members that are null are left out."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("an object as JSON") from None
    if isinstance(value, dict):
        return {name: member for name, member in value.items() if member is not None}
    return value


def _names(table: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """Names of a table for the schema; `resolve` checks them."""
    return {"enum": [*table, *more]}


# Other projects' names of options, and the names to write here; the config's members are in it.
_SYNONYMS = {name: f"{said} in 'config'" for name, said in CONFIG_SYNONYMS.items()}
_SYNONYMS |= {name: f"{name!r} in 'config'" for name in MelConfig.model_fields}
for _said, _words in {
    "'config'": "preset model mel_config mel_spec voice",
    "'n_iter'": "iterations iters niter n_iters num_iters n_iterations num_iterations steps",
    "'format'": "response_format output_format fmt codec audio_format container",
    "'sample_rate'": "sr fs rate samplerate sampling_rate",
    "'gain'": "volume gain_db",
    "'seed'": "random_seed random_state",
    "'normalize'": "norm normalise normalize_audio loudness",
    "'stream'": "streaming chunked",
}.items():
    _SYNONYMS |= dict.fromkeys(_words.split(), _said)


class _Options(Members):
    """Options of a request."""

    synonyms: ClassVar[Mapping[str, str]] = _SYNONYMS


ConfigField = Annotated[MelConfig, BeforeValidator(_config)]
HarmonicsField = Annotated[
    Harmonics,
    Field(
        description="auto: a pitch comb brings back a voice's harmonics above 1 kHz, where the "
        "mel's bands are wider than their distance; off: none."
    ),
]
Params = Annotated[dict[str, float], BeforeValidator(_object)]


class ReconstructOptions(_Options):
    """Options of `POST /reconstruct`, in the query string, the form or the JSON body."""

    config: ConfigField = Field(
        description="Config of the mel: a preset's name (GET /presets) or a MelConfig."
    )
    quality: Quality = Field(
        DEFAULT_QUALITY, description="Amount of computation; times are 1 : 5 : 20."
    )
    method: str | None = Field(
        None,
        description=f"Joint method (GET /methods); {DEFAULT_METHOD} by default.",
        json_schema_extra=_names(JOINT),
    )
    inversion: str | None = Field(
        None,
        json_schema_extra=_names(INVERSIONS),
        description="First of two stages, from mel to magnitude; "
        f"{DEFAULT_INVERSION} if only `phase` is given.",
    )
    phase: str | None = Field(
        None,
        json_schema_extra=_names(PHASES),
        description="Second of two stages, from magnitude to audio; "
        f"{DEFAULT_PHASE} if only `inversion` is given.",
    )
    start: str | None = Field(
        None,
        description=f"First phases; by default {DEFAULT_START}, or {GIVEN} with `phases`.",
        json_schema_extra=_names(STARTS, GIVEN),
    )
    params: Params = Field({}, description="Parameters of the phase or joint method, an object.")
    inversion_params: Params = Field({}, description="Parameters of the inversion, an object.")
    n_iter: int | None = Field(
        None,
        ge=0,
        description="Iterations instead of the quality's. The default method does as much work as "
        "this number over the whole band, three quarters of it on the lower octaves.",
    )
    momentum: float | None = Field(
        None,
        ge=0,
        le=MAX_MOMENTUM,
        allow_inf_nan=False,
        description="Constant momentum instead of the quality's schedule.",
    )
    harmonics: HarmonicsField = DEFAULT_HARMONICS
    fit: Fit = Field(
        DEFAULT_FIT,
        description="exact, or relaxed: keeps less and less to the mel, for a noisy one of an "
        "acoustic model, which no audio has.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the first phases.")
    length: int | None = Field(
        None,
        ge=1,
        description="Samples of the result; must be a length with the same number of frames.",
    )
    format: Format | None = Field(
        None, description="Format of the audio; by default from the Accept header, or wav."
    )
    layout: Layout = Field("auto", description="Order of the mel's axes.")
    strict: bool = Field(
        default=False,
        description="Refuse a mel with 422 where an answer would carry a warning about its values: "
        "another scale, padding, an ambiguous layout. A stream refuses until audio was sent.",
    )
    sample_rate: int | None = Field(
        None, ge=1000, le=384_000, description="Sample rate of the result, Hz."
    )
    normalize: Normalize = Field(
        "none",
        description="peak: loudest sample at -1 dB of full scale; loudness: -23 LUFS "
        "(ITU-R BS.1770-4, EBU R 128).",
    )
    gain: float = Field(
        0.0, ge=-60, le=60, allow_inf_nan=False, description="Gain after `normalize`, dB."
    )
    peak: Peak | None = Field(
        None,
        description="What becomes of a peak above full scale. limit: a look-ahead limiter, above "
        "12 dB scale; scale: the whole clip is scaled down; clip: samples are clipped. By default "
        "limit; float formats keep all samples.",
    )
    output: Output = Field(
        "audio",
        description="audio, or the linear magnitude or complex STFT [N, T] as npy.",
    )


class _StreamingOptions(_Options):
    """Options of all streams."""

    config: ConfigField = Field(
        description="Config of the mel: a preset's name (GET /presets) or a MelConfig."
    )
    quality: Quality = Field(DEFAULT_QUALITY, description="Amount of computation for a frame.")
    lookahead: int = Field(
        DEFAULT_LOOKAHEAD,
        ge=1,
        le=MAX_LOOKAHEAD,
        description="Frames that must follow before a frame's samples are final.",
    )
    harmonics: HarmonicsField = DEFAULT_HARMONICS
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the first phases.")
    strict: bool = Field(
        default=False,
        description="Refuse a mel with 422 where an answer would carry a warning about its values: "
        "another scale, padding, an ambiguous layout. A stream refuses until audio was sent.",
    )
    peak: StreamPeak | None = Field(
        None,
        description="What becomes of samples above full scale. limit: a limiter, which delays "
        "5 ms; clip: they are clipped. By default limit; float formats keep them.",
    )

    @property
    def stream(self) -> Options:
        """The options for the engine."""
        return Options(self.quality, self.lookahead, self.seed, self.harmonics)


class StreamOptions(_StreamingOptions):
    """The first message of `WS /stream`."""

    format: Literal["s16le", "f32le"] = Field("s16le", description="Format of the samples.")


def _no_mp3(value: object) -> object:
    if value == "mp3":
        raise ValueError(
            "another format, such as ogg or opus: the header of an mp3 has its length, which is "
            "unknown until the end"
        )
    return value


class ChunkedOptions(_StreamingOptions):
    """Options of `POST /reconstruct?stream=true`."""

    format: Annotated[
        Literal["wav", "wav_f32", "flac", "ogg", "opus", "pcm", "pcm_f32"] | None,
        BeforeValidator(_no_mp3),
    ] = Field(None, description="Format of the audio; by default from the Accept header, or wav.")
    layout: Layout = Field("auto", description="Order of the axes of a whole mel.")


class AnalyzeOptions(_Options):
    """Options of `POST /analyze`."""

    config: ConfigField = Field(
        description="Config of the result: a preset's name (GET /presets) or a MelConfig."
    )


class PresetInfo(BaseModel):
    """Entry of `GET /presets`."""

    name: str
    project: str
    source: str = Field(description="File of the project that has the values.")
    note: str
    config: MelConfig


class ParameterInfo(BaseModel):
    """Parameter of a method: a member of `params` or `inversion_params`."""

    name: str
    default: float
    lowest: float
    highest: float
    integer: bool
    meaning: str


class MethodInfo(BaseModel):
    """Entry of `GET /methods`."""

    name: str
    kind: Literal["joint", "inversion", "phase", "start"]
    summary: str
    source: str
    cost: str = Field(description="Cost of a frame.")
    host: str = Field(
        description="Part of the host in a GPU's run; empty where it only launches a few times, "
        "whatever the number of frames."
    )
    parameters: list[ParameterInfo]
    default: bool = Field(description="Whether it is the default of its kind.")


class QualityInfo(BaseModel):
    """Schedule of a quality of the joint method."""

    name: str
    power: int = Field(
        description="Power of the mels that it applies to; between 1 and 2 it is interpolated, "
        "below 1 it is that of 1."
    )
    n_iter: int = Field(
        description="Work, in iterations over the whole band; up to twice as many for configs "
        "with fewer than four octaves."
    )
    momentum: tuple[float, float] = Field(description="Values in the first and the last iteration.")
    reflection: tuple[float, float] = Field(
        description="Values in the first and the last iteration."
    )
    exponent: tuple[float, float] = Field(description="Values in the first and the last iteration.")
    blend: tuple[float, float] = Field(description="Values in the first and the last iteration.")
    comb: float = Field(description="Share of the pitch comb in the first iteration.")
    turn: float = Field(description="Share of the circle from which the first phases are drawn.")
    shares: tuple[float, ...] = Field(
        description="Shares of the work for each octave, the lowest first, and for the whole band."
    )


class Methods(BaseModel):
    """`GET /methods`."""

    methods: list[MethodInfo]
    qualities: list[QualityInfo]


class Progress(BaseModel):
    """`GET /progress/{request_id}`."""

    stage: Stage | Literal["unknown"] = Field(
        description="As in Server-Timing; unknown before the request's arrival, after its "
        "answer, and for a request at another replica."
    )
    ahead: int = Field(description="Requests in the queue that came before it.")
    elapsed: float | None = Field(description="Seconds since it entered the queue.")
    remaining: float | None = Field(
        description="Estimated seconds until it is computed; 0 if it takes longer than expected."
    )
    measured: bool = Field(
        description="Whether recent requests of its kind were measured; otherwise a guess."
    )


class Health(BaseModel):
    """`GET /livez` and `GET /readyz`."""

    status: str
    version: str
    backend: str | None = None
    """Backend, its FFT library and its device, once the service is ready."""
    fft: str | None = None
    device: str | None = None
