"""From a body and its options to checked work within the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from unmel.models.engine import Analysis, Item
from unmel.models.errors import Invalid, TooLarge
from unmel.models.mel import (
    BLURRED,
    Checked,
    MelConfig,
    Members,
    accept_mel,
    check_phases,
)
from unmel.models.methods import DEFAULT_START, GIVEN, check_start, resolve
from unmel.service.errors import UnsupportedMedia
from unmel.service.ops.settings import Settings
from unmel.service.wire.arrays import FILTERBANK, parse_form_arrays, read_mel
from unmel.service.wire.bodies import Body, read_text
from unmel.service.wire.codecs import read_audio
from unmel.service.wire.filterbanks import HeldFilterbanks
from unmel.service.wire.formats import format_for
from unmel.service.wire.levels import LevelOptions
from unmel.service.wire.media import FORM, OCTET_STREAM
from unmel.service.wire.problems import brief
from unmel.service.wire.schemas import (
    AnalyzeOptions,
    ChunkedOptions,
    ReconstructOptions,
    config_with,
)

OptionsT = TypeVar("OptionsT", bound=Members)

_FLAG = TypeAdapter(bool)


@dataclass(frozen=True, eq=False)
class ReconstructRequest:
    """A reconstruction: the item for the engine, and the form of its result."""

    item: Item
    format: str
    levels: LevelOptions
    warnings: tuple[str, ...]
    timeout: float | None = None
    partial: bool = False

    @property
    def items(self) -> tuple[Item]:
        """Work for the lanes."""
        return (self.item,)

    @property
    def nbytes(self) -> int:
        """Upper bound of the bytes of input and result."""
        item = self.item
        phases = 0 if item.phases is None else item.phases.nbytes
        size = {"audio": 4 * item.samples, "magnitude": 4, "stft": 8}[item.output]
        if item.output != "audio":
            size *= item.frames * item.config.n_bins
        return item.mel.nbytes + phases + size + item.config.filterbank_bytes


@dataclass(frozen=True, eq=False)
class ChunkedRequest:
    """A reconstruction whose result is sent in chunks, of a whole mel `[T, K]`."""

    options: ChunkedOptions
    mel: NDArray[np.float32]
    warnings: tuple[str, ...]


class StreamWanted(Exception):
    """A body, read for a whole answer, turns out to ask for a stream."""

    def __init__(self, wanted: ChunkedRequest) -> None:
        self.wanted = wanted
        super().__init__("a stream is wanted")


@dataclass(frozen=True, eq=False)
class AnalyzeRequest:
    """An analysis of audio."""

    item: Analysis
    warnings: tuple[str, ...]
    timeout: float | None = None
    partial: bool = False

    @property
    def items(self) -> tuple[Analysis]:
        """Work for the lanes."""
        return (self.item,)

    @property
    def nbytes(self) -> int:
        """Bytes of input and result."""
        item = self.item
        mel = 4 * item.frames * item.config.n_mels
        return item.wave.nbytes + mel + item.config.filterbank_bytes


def read_reconstruct_request(
    body: Body,
    query: dict[str, str | None],
    accept: str | None,
    settings: Settings,
    filterbanks: HeldFilterbanks | None = None,
) -> ReconstructRequest:
    """Read and check a body of `POST /reconstruct`.

    Parameters
    ----------
    body
        The mel, and the options of a form or JSON body.
    query
        Options of the query string.
    accept
        Accept header; it chooses the format if no option does.
    settings
        Limits.
    filterbanks
        Filterbanks that the config may name.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty.
    StreamWanted
        The body has `stream`, as a form or JSON may; it is checked as such.

    """
    mel, phases, fields = read_mel(body, settings)
    if _wants_stream(fields, query):
        raise StreamWanted(_chunked_request(mel, phases, fields, query, settings, filterbanks))
    options = _read_options(ReconstructOptions, fields, query, filterbanks)
    format_name = output_format(options, accept)
    return make_reconstruct_request(mel, phases, options, format_name, settings)


def read_options(fields: dict[str, Any]) -> ReconstructOptions:
    """Read options from the fields of another protocol; raises Invalid or ValidationError."""
    return _read_options(ReconstructOptions, fields, {})


def read_analyze_options(fields: dict[str, Any]) -> AnalyzeOptions:
    """The same for an analysis."""
    return _read_options(AnalyzeOptions, fields, {})


def read_flag(field: str, value: object, *, default: bool = False) -> bool:
    """Read a boolean: true or false, as JSON or as text in any case, yes or no, on or off, 1 or 0.

    Parameters
    ----------
    field
        Name of the option.
    value
        Value of a JSON body, a form or a query string; None if it is not given.
    default
        Result for None.

    Raises
    ------
    Invalid
        For any other value.

    """
    try:
        return default if value is None else _FLAG.validate_python(value)
    except ValidationError:
        raise Invalid(field, brief(value), "true or false") from None


def make_reconstruct_request(
    mel: NDArray[Any],
    phases: NDArray[Any] | None,
    options: ReconstructOptions,
    format_name: str,
    settings: Settings,
) -> ReconstructRequest:
    """Check a mel and its options.

    Parameters
    ----------
    mel
        `[K, T]` or `[T, K]`, by the option `layout`.
    phases
        First phases `[N, T]`, radians, or None.
    options
        Options of the reconstruction.
    format_name
        Key of `FORMATS`, or `npy`.
    settings
        Limits.

    Raises
    ------
    Invalid
        Or a subclass; the mel or an option is faulty or exceeds a limit.

    """
    config = options.config
    checked = _check_mel(mel, options, settings)
    frames = checked.values.shape[0]
    _check_size("mel", frames, config, settings)
    if options.n_iter is not None and options.n_iter > settings.max_iterations:
        raise Invalid("n_iter", str(options.n_iter), f"at most {settings.max_iterations}")
    recipe = resolve(
        config.power,
        octaves=config.octaves,
        quality=options.quality,
        method=options.method,
        inversion=options.inversion,
        phase=options.phase,
        start=options.start or (DEFAULT_START if phases is None else GIVEN),
        n_iter=options.n_iter,
        momentum=options.momentum,
        harmonics=options.harmonics,
        fit=options.fit,
        params=options.params,
        inversion_params=options.inversion_params,
    )
    steps = options.inversion_params.get("n_iter", 0)
    if steps > settings.max_iterations:
        raise Invalid("inversion_params.n_iter", str(steps), f"at most {settings.max_iterations}")
    check_start(recipe.start, config)
    if (recipe.start == GIVEN) != (phases is not None):
        raise Invalid(
            "phases",
            "nothing" if phases is None else f"phases with start {recipe.start!r}",
            f"phases with start {GIVEN!r} only",
        )
    item = Item(
        checked.values,
        config,
        recipe,
        config.length_for(frames, options.length),
        options.seed,
        options.output,
        None if phases is None else check_phases(config, phases, frames),
    )
    levels = LevelOptions(options.normalize, options.gain, options.sample_rate, options.peak)
    return ReconstructRequest(item, format_name, levels, checked.warnings)


def read_chunked_request(
    body: Body,
    query: dict[str, str | None],
    settings: Settings,
    filterbanks: HeldFilterbanks | None = None,
) -> ChunkedRequest:
    """Read and check a body of `POST /reconstruct?stream=true` with a whole mel.

    Parameters and errors are those of `read_reconstruct_request`.
    """
    mel, phases, fields = read_mel(body, settings)
    _wants_stream(fields, query)
    return _chunked_request(mel, phases, fields, query, settings, filterbanks)


def _wants_stream(fields: dict[str, Any], query: dict[str, str | None]) -> bool:
    """Take the option `stream` of a body; the route has read that of the query."""
    value, asked = _as_text("stream", fields.pop("stream", None)), query.pop("stream", None)
    if value is not None and asked is not None:
        raise _two_values("stream")
    return read_flag("stream", value)


def _chunked_request(
    mel: NDArray[Any],
    phases: NDArray[Any] | None,
    fields: dict[str, Any],
    query: dict[str, str | None],
    settings: Settings,
    filterbanks: HeldFilterbanks | None,
) -> ChunkedRequest:
    if phases is not None:
        raise Invalid("phases", "phases", "none: a stream computes its own")
    options = _read_options(ChunkedOptions, fields, query, filterbanks)
    checked = _check_mel(mel, options, settings)
    return ChunkedRequest(options, checked.values, checked.warnings)


def read_chunked_options(
    query: dict[str, str | None], filterbanks: HeldFilterbanks
) -> ChunkedOptions:
    """Read the options of a stream whose frames are still to come."""
    return _read_options(ChunkedOptions, {}, query, filterbanks)


def read_analyze_request(
    body: Body,
    query: dict[str, str | None],
    settings: Settings,
    filterbanks: HeldFilterbanks | None = None,
) -> AnalyzeRequest:
    """Read and check a body of `POST /analyze`.

    Parameters
    ----------
    body
        An audio file, alone or in a form, there with a filterbank or without.
    query
        Options of the query string.
    settings
        Limits.
    filterbanks
        Filterbanks that the config may name.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty.

    """
    data, fields = body.data, body.options("audio", FILTERBANK)
    if body.media_type == FORM:
        data = body.file("audio")
        fields |= parse_form_arrays(body, (FILTERBANK,), settings.max_body_bytes)
    elif not (body.media_type.startswith("audio/") or body.media_type == OCTET_STREAM):
        raise UnsupportedMedia(
            "Content-Type",
            repr(body.media_type),
            f"{FORM} with a file field 'audio', or audio/*",
        )
    options = _read_options(AnalyzeOptions, fields, query, filterbanks)
    return make_analyze_request(data, options, settings)


def make_analyze_request(
    data: bytes, options: AnalyzeOptions, settings: Settings
) -> AnalyzeRequest:
    """Read an audio file.

    Parameters
    ----------
    data
        Content of the file.
    options
        Options of the analysis.
    settings
        Limits.

    Raises
    ------
    Invalid
        Or a subclass; the file cannot be read or exceeds a limit.

    """
    config = options.config
    max_frames = min(settings.max_frames, settings.max_points // config.n_fft)
    wave, warnings = read_audio(data, config.sample_rate, max_frames * config.hop_length)
    _check_size("audio", config.frames(wave.shape[0]), config, settings)
    return AnalyzeRequest(Analysis(wave, config), warnings)


def _check_mel(
    mel: NDArray[Any], options: ReconstructOptions | ChunkedOptions, settings: Settings
) -> Checked:
    if mel.size > settings.max_frames * options.config.n_mels:  # before it is copied
        shape = "x".join(map(str, mel.shape))
        raise TooLarge("mel", f"shape {shape}", f"at most {settings.max_frames} frames")
    checked = accept_mel(options.config, mel, options.layout)
    if options.strict:
        refuse_warnings(checked.warnings)
    return checked


def refuse_warnings(warnings: Sequence[str]) -> None:
    """Raise Invalid for warnings about a mel, as the option `strict` asks; blur is no mistake."""
    if wrong := [warning for warning in warnings if not warning.startswith(BLURRED)]:
        raise Invalid("mel", "; ".join(wrong), "a mel without a warning, because of strict")


def _check_size(field: str, frames: int, config: MelConfig, settings: Settings) -> None:
    if frames > settings.max_frames:
        raise TooLarge(field, f"{frames} frames", f"at most {settings.max_frames}")
    max_rows = settings.max_points // config.n_fft
    if config.rows(frames, 0) > max_rows:
        raise TooLarge(
            field, f"{frames} frames", f"at most {max_rows} with an n_fft of {config.n_fft}"
        )


def _read_options(
    kind: type[OptionsT],
    fields: dict[str, Any],
    query: dict[str, str | None],
    filterbanks: HeldFilterbanks | None = None,
) -> OptionsT:
    """Options of the body and the query string; Invalid if one is in both."""
    bank = fields.get(FILTERBANK)
    if isinstance(bank, np.ndarray):
        fields = {name: value for name, value in fields.items() if name != FILTERBANK}
    unknown = sorted((set(fields) | set(query)) - set(kind.model_fields))
    if unknown:  # checked first: pydantic would list every one of them
        got = "a file" if isinstance(fields.get(unknown[0]), bytes) else "a value"
        raise Invalid(unknown[0][:80], got, kind.suggest(unknown[0]))
    fields = {name: _as_text(name, value) for name, value in fields.items()}
    given = {name: text for name, text in query.items() if text is not None}
    twice = sorted(name for name in given if fields.get(name) is not None)
    if twice:
        raise _two_values(twice[0])
    values = {**fields, **given}
    if isinstance(bank, np.ndarray) and values.get("config") is not None:
        values["config"] = config_with(values["config"], bank)
    return kind.model_validate(values, context=filterbanks)


def _two_values(name: str) -> Invalid:
    return Invalid(name, "a value in the body and one in the query", "one value")


def _as_text(name: str, value: object) -> object:
    """The value of an option; its text, if it is a form's file."""
    return read_text(name, value) if isinstance(value, bytes) else value


def output_format(options: ReconstructOptions, accept: str | None) -> str:
    """Name of the result's format: a key of `FORMATS`, or `npy`; Invalid for another option."""
    if options.output != "audio":
        if options.format not in (None, "npy"):
            raise Invalid(
                "format", repr(options.format), f"npy, or nothing, for output {options.output!r}"
            )
        if options.sample_rate is not None:
            raise Invalid("sample_rate", str(options.sample_rate), "nothing: only audio has one")
        return "npy"
    if options.format == "npy":
        raise Invalid("format", "'npy'", "an audio format; npy is for output magnitude and stft")
    return options.format or format_for(accept)
