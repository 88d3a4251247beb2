"""From a body and its options to the work that is asked for, checked and within the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from unmel.models.engine.analysis import Analysis
from unmel.models.engine.items import Item
from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.models.mel.config import MelConfig
from unmel.models.mel.suggest import presets_that_fit
from unmel.models.mel.validate import Checked, check_mel, check_phases
from unmel.models.methods.recipe import DEFAULT_START, GIVEN, resolve
from unmel.models.methods.start.starts import check_start
from unmel.service.errors import UnsupportedMedia
from unmel.service.ops.settings import LONGEST_SECONDS, Settings
from unmel.service.wire.arrays import ARRAY_TYPES, NPZ, SAFETENSORS, parse_arrays
from unmel.service.wire.bodies import FORM, JSON, Body
from unmel.service.wire.codecs import NPY, parse_json, parse_json_array, read_audio
from unmel.service.wire.formats import Finish, format_for
from unmel.service.wire.schemas import AnalyzeOptions, ChunkedOptions, ReconstructOptions

Options = TypeVar("Options", bound=BaseModel)

LONGEST_DEADLINE_MS = 1000 * LONGEST_SECONDS
"""Upper bound of X-Deadline-Ms."""

# Lists and objects of a JSON body beside a mel's frames.
MOST_PARTS = 20_000


@dataclass(frozen=True, eq=False)
class Order:
    """A reconstruction to do: the item for the engine, and how to write what comes of it."""

    item: Item
    format: str
    finish: Finish
    warnings: tuple[str, ...]
    timeout: float | None = None

    @property
    def items(self) -> tuple[Item]:
        return (self.item,)

    @property
    def nbytes(self) -> int:
        """Bytes of what came and of what will go out, at most."""
        item = self.item
        phases = 0 if item.phases is None else item.phases.nbytes
        size = {"audio": 4 * item.samples, "magnitude": 4, "stft": 8}[item.output]
        if item.output != "audio":
            size *= item.frames * item.config.n_bins
        return item.mel.nbytes + phases + size


@dataclass(frozen=True, eq=False)
class ChunkedOrder:
    """A reconstruction to answer as it is made: the whole mel `[T, K]` is there."""

    options: ChunkedOptions
    mel: NDArray[np.float32]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AnalyzeOrder:
    """An analysis to do."""

    item: Analysis
    warnings: tuple[str, ...]
    timeout: float | None = None

    @property
    def items(self) -> tuple[Analysis]:
        return (self.item,)

    @property
    def nbytes(self) -> int:
        """Bytes of what came and of what will go out."""
        item = self.item
        return item.wave.nbytes + 4 * item.frames * item.config.n_mels


def read_deadline(value: str | None, now: float) -> float | None:
    """The time by which a request wants its answer, of its X-Deadline-Ms; Invalid if it is none."""
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 8):
        raise Invalid("X-Deadline-Ms", repr(value[:40]), "whole milliseconds, 1 to a day's")
    if not 1 <= int(value) <= LONGEST_DEADLINE_MS:
        raise Invalid("X-Deadline-Ms", value, f"1 to {LONGEST_DEADLINE_MS}")
    return now + int(value) / 1000


def read_order(body: Body, query: dict[str, str], accept: str | None, settings: Settings) -> Order:
    """What `POST /reconstruct` asks for; raises Invalid or one of its kinds."""
    mel, phases, fields = _read_mel(body, settings)
    options = _options(ReconstructOptions, fields, query)
    return make_order(mel, phases, options, _format(options, accept), settings)


def read_options(fields: dict[str, Any]) -> ReconstructOptions:
    """Options that came in an object of a protocol's own."""
    return _options(ReconstructOptions, fields, {})


def make_order(
    mel: NDArray[Any],
    phases: NDArray[Any] | None,
    options: ReconstructOptions,
    format_name: str,
    settings: Settings,
) -> Order:
    """A mel and its options as work, checked and within the limits; raises Invalid if not."""
    config = options.config
    checked = _checked(mel, options, settings)
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
            "nothing" if phases is None else f"phases beside start {recipe.start!r}",
            f"phases with start {GIVEN!r}, and with it alone",
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
    how = Finish(options.normalize, options.gain, options.sample_rate)
    return Order(item, format_name, how, checked.warnings)


def read_chunked_order(body: Body, query: dict[str, str], settings: Settings) -> ChunkedOrder:
    """What `POST /reconstruct?stream=true` asks for with its mel; raises as `read_order`."""
    mel, phases, fields = _read_mel(body, settings)
    if phases is not None:
        raise Invalid("phases", "phases", "none: a stream finds its own")
    options = _options(ChunkedOptions, fields, query)
    checked = _checked(mel, options, settings)
    return ChunkedOrder(options, checked.values, checked.warnings)


def read_chunked_options(query: dict[str, str]) -> ChunkedOptions:
    """What it asks for when the mel is still to come."""
    return _options(ChunkedOptions, {}, query)


def _checked(
    mel: NDArray[Any], options: ReconstructOptions | ChunkedOptions, settings: Settings
) -> Checked:
    if mel.size > settings.max_frames * options.config.n_mels:  # before it is copied
        shape = "x".join(map(str, mel.shape))
        raise TooLarge("mel", f"shape {shape}", f"at most {settings.max_frames} frames")
    try:
        return check_mel(options.config, mel, options.layout)
    except Invalid as error:
        error.fits = presets_that_fit(options.config, mel, options.layout)
        raise


def read_analyze_order(body: Body, query: dict[str, str], settings: Settings) -> AnalyzeOrder:
    """What `POST /analyze` asks for; raises Invalid or one of its kinds."""
    data = body.data
    if body.media_type == FORM:
        data = _file(body, "audio")
    elif not (
        body.media_type.startswith("audio/") or body.media_type == "application/octet-stream"
    ):
        raise UnsupportedMedia(
            "Content-Type",
            repr(body.media_type),
            "multipart/form-data with a file field 'audio', or audio/*",
        )
    options = _options(AnalyzeOptions, body.fields, query)
    config = options.config
    most = min(settings.max_frames, settings.max_points // config.n_fft)
    wave, warnings = read_audio(data, config.sample_rate, most * config.hop_length)
    _check_size("audio", config.frames(wave.shape[0]), config, settings)
    return AnalyzeOrder(Analysis(wave, config), warnings)


def _check_size(field: str, frames: int, config: MelConfig, settings: Settings) -> None:
    if frames > settings.max_frames:
        raise TooLarge(field, f"{frames} frames", f"at most {settings.max_frames}")
    most = settings.max_points // config.n_fft
    if config.rows(frames, 0) > most:
        raise TooLarge(field, f"{frames} frames", f"at most {most} of n_fft {config.n_fft}")


def _read_mel(
    body: Body, settings: Settings
) -> tuple[NDArray[Any], NDArray[Any] | None, dict[str, Any]]:
    """The mel and the phases of a body as they came, and the options that travelled with them."""
    if body.media_type == JSON:
        # A mel is a list of bands or of frames, and phases one of bins; configs have few parts.
        fields = parse_json(body.data, settings.max_frames + MOST_PARTS)
        if "mel" not in fields:
            raise Invalid("mel", "nothing", "the mel, as nested lists or base64")
        mel = parse_json_array("mel", fields.pop("mel"))
        phases = parse_json_array("phases", fields.pop("phases")) if "phases" in fields else None
        return mel, phases, fields
    most = settings.max_body_bytes
    if body.media_type == FORM:
        arrays = parse_arrays("mel", _file(body, "mel"), "application/octet-stream", most)
        if "phases" in body.files:
            data = body.files["phases"]
            arrays |= parse_arrays("phases", data, "application/octet-stream", most)
        return arrays["mel"], arrays.get("phases"), dict(body.fields)
    if body.media_type in ARRAY_TYPES:
        arrays = parse_arrays("mel", body.data, body.media_type, most)
        return arrays["mel"], arrays.get("phases"), {}
    raise UnsupportedMedia(
        "Content-Type",
        repr(body.media_type),
        f"{NPY}, {NPZ}, {SAFETENSORS}, {JSON} or {FORM}",
    )


def _file(body: Body, name: str) -> bytes:
    if name not in body.files:
        got = ", ".join(f"a file field {other[:80]!r}" for other in body.files) or "no file"
        raise Invalid(name, got, f"a file field {name!r}")
    if not body.files[name]:
        raise Unreadable(name, "an empty file", "a file with content")
    return body.files[name]


def _options(kind: type[Options], fields: dict[str, Any], query: dict[str, str]) -> Options:
    """Options from the body and the query string together; neither may repeat the other's."""
    unknown = sorted((set(fields) | set(query)) - set(kind.model_fields))
    if unknown:  # before pydantic lists every one of them
        raise Invalid(unknown[0][:80], "a value", "one of " + ", ".join(kind.model_fields))
    twice = sorted(set(fields) & set(query))
    if twice:
        raise Invalid(twice[0], "a value in the body and one in the query", "one value")
    return kind.model_validate({**query, **fields})


def _format(options: ReconstructOptions, accept: str | None) -> str:
    """The name of the output's format."""
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
