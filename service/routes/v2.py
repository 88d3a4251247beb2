"""The Open Inference Protocol, version 2: a preset is a model, its mel the input `mel`.

References: https://github.com/kserve/open-inference-protocol,
specification/protocol/inference_rest.md; for binary tensors
https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from unmel.models.engine import Item
from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.models.mel import PRESETS, Preset
from unmel.service import __version__
from unmel.service.errors import NotFound
from unmel.service.ops.settings import Settings
from unmel.service.queue.tickets import Served
from unmel.service.web import openapi
from unmel.service.web.components import components_of
from unmel.service.web.pipeline import serve_whole
from unmel.service.web.responses import PacedResponse
from unmel.service.wire.arrays import MAX_JSON_PARTS
from unmel.service.wire.bodies import Body
from unmel.service.wire.codecs import parse_json, parse_json_array, reshape
from unmel.service.wire.levels import LevelledAudio, apply_levels
from unmel.service.wire.media import JSON, OCTET_STREAM
from unmel.service.wire.problems import brief
from unmel.service.wire.requests import (
    ReconstructRequest,
    make_reconstruct_request,
    read_options,
)

router = APIRouter(prefix="/v2", tags=["inference protocol v2"])

VERSION = "1"
HEADER_LENGTH = "Inference-Header-Content-Length"
_DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP16": np.dtype("<f2")}
# The model stands for the config, and the output is always one tensor of floats.
_FORBIDDEN_PARAMETERS = frozenset({"config", "format", "output"})
_MICROSECONDS = 1_000_000
_MAX_DIGITS = 18
# Each mel of a batch is a request in the queue, however few frames it has.
_MAX_BATCH = 256
# A sample in a JSON answer: a float in a list (32 bytes), and its digits as text and encoded.
_JSON_SAMPLE_BYTES = 84


@router.get("")
async def server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "unmel", "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/health/live", **openapi.V2_HEALTH)
async def live(request: Request) -> Response:
    """As `/livez`."""
    return JSONResponse({"live": True}, 200 if components_of(request).alive else 503)


@router.get("/health/ready", **openapi.V2_HEALTH)
async def ready(request: Request) -> Response:
    """As `/readyz`."""
    return _ready(request)


@router.get("/models/{model}", **openapi.V2)
@router.get("/models/{model}/versions/{version}", **openapi.V2)
async def model_metadata(model: str, version: str = VERSION) -> dict[str, Any]:
    """Tensors of a preset."""
    bands = _preset(model, version).config.n_mels
    return {
        "name": model,
        "versions": [VERSION],
        "platform": "unmel",
        "inputs": [{"name": "mel", "datatype": "FP32", "shape": [bands, -1]}],
        "outputs": [{"name": "audio", "datatype": "FP32", "shape": [-1]}],
    }


@router.get("/models/{model}/ready", **openapi.V2_HEALTH)
@router.get("/models/{model}/versions/{version}/ready", **openapi.V2_HEALTH)
async def model_ready(request: Request, model: str, version: str = VERSION) -> Response:
    """Every preset is as ready as the service."""
    _preset(model, version)
    return _ready(request)


@router.post("/models/{model}/infer", **openapi.V2_INFER)
@router.post("/models/{model}/versions/{version}/infer", **openapi.V2_INFER)
async def infer(request: Request, model: str, version: str = VERSION) -> Response:
    """A mel, or a batch of mels of one length, to audio."""
    preset, settings = _preset(model, version), components_of(request).settings
    length = request.headers.get(HEADER_LENGTH)

    def read(body: Body) -> _InferRequest:
        return _read(body.data, length, preset, settings)

    return await serve_whole(request, read, _answer)


def _ready(request: Request) -> Response:
    is_ready = components_of(request).ready
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


def _preset(model: str, version: str) -> Preset:
    if model not in PRESETS:
        raise NotFound("model", repr(model[:80]), "one of " + ", ".join(PRESETS))
    if version != VERSION:
        raise NotFound("version", repr(version[:80]), VERSION)
    return PRESETS[model]


class _InferRequest:
    """A batch of reconstructions, and the form of the answer."""

    def __init__(self, head: dict[str, Any], model: str) -> None:
        self.model = model
        self.id = head.get("id")
        if self.id is not None and not isinstance(self.id, str):
            raise Invalid("id", brief(self.id), "a string")
        self.parameters = _object("parameters", head.get("parameters", {}))
        self.binary = _flag(self.parameters.pop("binary_data_output", False))
        timeout = self.parameters.pop("timeout", None)
        if timeout is not None and not (type(timeout) is int and timeout > 0):
            raise Invalid("parameters.timeout", brief(timeout), "microseconds, above 0")
        self.timeout = None if timeout is None else timeout / _MICROSECONDS
        for output in _list("outputs", head.get("outputs", [])):
            entry = _object("outputs", output)
            if entry.get("name") != "audio":
                raise Invalid("outputs", brief(entry.get("name")), "'audio'")
            given = _object("outputs.parameters", entry.get("parameters", {}))
            self.binary = _flag(given.get("binary_data", self.binary))
        self.clips: list[ReconstructRequest] = []
        self.batched = False

    @property
    def items(self) -> list[Item]:
        return [clip.item for clip in self.clips]

    @property
    def nbytes(self) -> int:
        nbytes = sum(clip.nbytes for clip in self.clips)
        if self.binary:
            return nbytes
        return nbytes + _JSON_SAMPLE_BYTES * sum(map(_output_samples, self.clips))


def _output_samples(clip: ReconstructRequest) -> int:
    """Samples of a clip at the rate of the answer."""
    rate = clip.item.config.sample_rate
    return math.ceil(clip.item.samples * (clip.levels.sample_rate or rate) / rate)


def _read(data: bytes, length: str | None, preset: Preset, settings: Settings) -> _InferRequest:
    """Read and check the JSON head and the binary tensor after it."""
    size = len(data)
    if length is not None:
        # int() refuses thousands of digits, be they zeros.
        digits = length.isascii() and length.isdecimal() and len(length) <= _MAX_DIGITS
        if not digits or int(length) > size:
            raise Unreadable(HEADER_LENGTH, repr(length[:40]), f"at most the body's {size} bytes")
        size = int(length)
    if size > settings.max_json_bytes:
        raise TooLarge("body", f"{size} bytes of JSON", f"at most {settings.max_json_bytes}")
    head = parse_json(data[:size], settings.max_frames + MAX_JSON_PARTS)
    wanted = _InferRequest(head, preset.name)
    mels = _mels(_list("inputs", head.get("inputs")), memoryview(data)[size:])
    wanted.batched = mels.ndim == 3
    refused = sorted(_FORBIDDEN_PARAMETERS & set(wanted.parameters))
    if refused:
        raise Invalid(f"parameters.{refused[0]}", "a value", "nothing: the model determines it")
    options = read_options({**wanted.parameters, "config": preset.name})
    if mels.size > settings.max_frames * preset.config.n_mels:
        shape = "x".join(map(str, mels.shape))
        raise TooLarge("mel", f"shape {shape}", f"at most {settings.max_frames} frames in total")
    batch = mels if wanted.batched else mels[None]
    if len(batch) > _MAX_BATCH:
        raise TooLarge("mel", f"a batch of {len(batch)} mels", f"at most {_MAX_BATCH}")
    wanted.clips = [
        make_reconstruct_request(mel, None, options, "pcm_f32", settings) for mel in batch
    ]
    if not wanted.clips:
        raise Invalid("mel", "an empty batch", "at least one mel")
    return wanted


def _mels(inputs: list[Any], raw: memoryview) -> NDArray[Any]:
    """The input tensor from the JSON or the bytes after it: two axes, or three for a batch."""
    if len(inputs) != 1:
        raise Invalid("inputs", brief(inputs), "one input, 'mel'")
    tensor = _object("inputs", inputs[0])
    if tensor.get("name") != "mel":
        raise Invalid("inputs", brief(tensor.get("name")), "'mel'")
    name, shape = tensor.get("datatype"), tensor.get("shape")
    dtype = _DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise Invalid("mel", f"datatype {brief(name)}", "FP32 or FP16")
    if (
        not isinstance(shape, list)
        or len(shape) not in (2, 3)
        or not all(type(n) is int and 0 <= n < 2**31 for n in shape)
    ):
        raise Invalid(
            "mel", f"shape {brief(shape)}", "[n_mels, frames], or [batch, n_mels, frames]"
        )
    count = math.prod(shape)
    parameters = _object("mel.parameters", tensor.get("parameters", {}))
    size = parameters.get("binary_data_size")
    if size is None:
        values = parse_json_array("mel", tensor.get("data")).reshape(-1)
        if values.size != count:
            raise Invalid("mel", f"{values.size} numbers for shape {shape}", f"{count} numbers")
        with np.errstate(over="ignore"):  # check_mel refuses infinite values
            return reshape("mel", values.astype(dtype), shape)
    if type(size) is not int or size != count * dtype.itemsize or size != len(raw):
        raise Invalid(
            "mel",
            f"binary_data_size {brief(size)} and {len(raw)} bytes for shape {shape} of {name}",
            f"{count * dtype.itemsize} bytes",
        )
    return reshape("mel", np.frombuffer(raw, dtype), shape)


def _answer(wanted: _InferRequest, served: Sequence[Served]) -> Response:
    audio = [_levelled(clip, one) for clip, one in zip(wanted.clips, served, strict=True)]
    samples = np.stack([one.samples for one in audio]).astype("<f4", copy=False)
    if not wanted.batched:
        samples = samples[0]
    warnings = {
        warning
        for clip, one, levelled in zip(wanted.clips, served, audio, strict=True)
        for warning in (*clip.warnings, *one.result.warnings, *levelled.warnings)
    }
    output: dict[str, Any] = {"name": "audio", "datatype": "FP32", "shape": list(samples.shape)}
    parameters: dict[str, Any] = {"sample_rate": audio[0].sample_rate}
    if warnings:
        parameters["warnings"] = "; ".join(sorted(warnings))
    head: dict[str, Any] = {"model_name": wanted.model, "model_version": VERSION}
    if wanted.id is not None:
        head["id"] = wanted.id
    head |= {"parameters": parameters, "outputs": [output]}
    if not wanted.binary:
        output["data"] = samples.reshape(-1).tolist()
        return PacedResponse(json.dumps(head).encode(), media_type=JSON)
    raw = samples.tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    text = json.dumps(head).encode()
    return PacedResponse(
        text + raw,
        headers={HEADER_LENGTH: str(len(text))},
        media_type=OCTET_STREAM,
    )


def _levelled(clip: ReconstructRequest, served: Served) -> LevelledAudio:
    wave = np.asarray(served.result.values, np.float32)
    return apply_levels(wave, clip.item.config.sample_rate, clip.levels, bounded=False)


def _object(field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(field, brief(value), "an object")
    return dict(value)


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid(field, brief(value), "a list")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid("parameters", brief(value), "true or false for binary data")
    return value
