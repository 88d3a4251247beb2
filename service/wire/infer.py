"""Requests of the Open Inference Protocol, version 2: JSON and tensors to checked work.

References: https://github.com/kserve/open-inference-protocol,
specification/protocol/inference_rest.md; for binary tensors and the parameters of its client
https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md,
extension_sequence.md, extension_schedule_policy.md, extension_classification.md and
extension_shared_memory.md; https://github.com/SeldonIO/MLServer, mlserver/types/dataplane.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmel.models.engine import Item
from unmel.models.errors import Invalid, TooLarge, Unreadable
from unmel.models.mel import Preset
from unmel.service.ops.settings import Settings
from unmel.service.wire.arrays import MAX_JSON_PARTS
from unmel.service.wire.codecs import (
    MAX_AXES,
    parse_json,
    parse_json_array,
    reshape,
    widen_bfloat16,
)
from unmel.service.wire.problems import brief
from unmel.service.wire.requests import (
    ReconstructRequest,
    make_reconstruct_request,
    read_flag,
    read_options,
)
from unmel.service.wire.schemas import ReconstructOptions

HEADER_LENGTH = "Inference-Header-Content-Length"
_DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
# The model stands for the config, and the output is always one tensor of floats.
_FORBIDDEN_PARAMETERS = frozenset({"config", "format", "output"})
_BINARY_OUTPUT, _TIMEOUT = "binary_data_output", "timeout"
# What Triton's client and MLServer's send of their own accord, and what means nothing here: there
# are no sequences, no priorities and no codecs.
_IGNORED_PARAMETERS = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "content_type", "headers"}
)
_RESERVED = "triton_"
_MICROSECONDS = 1_000_000
_MAX_DIGITS = 18
# Each mel of a batch is a request in the queue, however few frames it has.
_MAX_BATCH = 256
# A sample in a JSON answer: a float in a list (32 bytes), and its digits as text and encoded.
_JSON_SAMPLE_BYTES = 84


class InferRequest:
    """A batch of reconstructions, and the form of the answer."""

    def __init__(self, head: dict[str, Any], model: str) -> None:
        self.model = model
        self.id = head.get("id")
        if self.id is not None and not isinstance(self.id, str):
            raise Invalid("id", brief(self.id), "a string")
        given = _object("parameters", head.get("parameters"))
        self.binary = read_flag("parameters.binary_data_output", given.pop(_BINARY_OUTPUT, None))
        timeout = given.pop(_TIMEOUT, None) or 0  # 0 is Triton's "none"
        if type(timeout) is not int or timeout < 0:
            raise Invalid("parameters.timeout", brief(timeout), "microseconds, or 0 for no limit")
        self.timeout = timeout / _MICROSECONDS if timeout else None
        self.options = _options(given)
        for output in _list("outputs", head.get("outputs") or []):
            entry = _object("outputs", output)
            if entry.get("name") != "audio":
                raise Invalid("outputs", f"an output {brief(entry.get('name'))}", "'audio'")
            wanted = _object("outputs.parameters", entry.get("parameters"))
            _refuse_shared_memory("outputs", wanted)
            if wanted.get("classification"):
                raise Invalid(
                    "outputs.parameters.classification",
                    brief(wanted["classification"]),
                    "nothing: the output is audio, which has no classes",
                )
            self.binary = read_flag(
                "outputs.parameters.binary_data", wanted.get("binary_data"), default=self.binary
            )
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


def _options(parameters: dict[str, Any]) -> dict[str, Any]:
    """Options of the reconstruction among a request's parameters."""
    given = {
        name: value
        for name, value in parameters.items()
        if value is not None and name not in _IGNORED_PARAMETERS and not name.startswith(_RESERVED)
    }
    allowed = [
        name for name in ReconstructOptions.model_fields if name not in _FORBIDDEN_PARAMETERS
    ]
    for name in sorted(set(given) - set(allowed)):
        if name in _FORBIDDEN_PARAMETERS:
            raise Invalid(f"parameters.{name}", "a value", "nothing: the model determines it")
        taken = ", ".join([*allowed, _BINARY_OUTPUT, _TIMEOUT])
        ignored = ", ".join(sorted(_IGNORED_PARAMETERS))
        raise Invalid(
            f"parameters.{name[:80]}", "a value", f"one of {taken}; {ignored} are ignored"
        )
    return given


def _refuse_shared_memory(field: str, parameters: dict[str, Any]) -> None:
    region = parameters.get("shared_memory_region")
    if region is not None:
        raise Invalid(
            f"{field}.parameters.shared_memory_region",
            brief(region),
            "nothing: there is no shared memory, tensors are in the body",
        )


def _output_samples(clip: ReconstructRequest) -> int:
    """Samples of a clip at the rate of the answer."""
    rate = clip.item.config.sample_rate
    return math.ceil(clip.item.samples * (clip.levels.sample_rate or rate) / rate)


def read_infer_request(
    data: bytes, length: str | None, preset: Preset, settings: Settings
) -> InferRequest:
    """Read and check the JSON head and the binary tensor after it.

    Parameters
    ----------
    data
        The body.
    length
        Header `HEADER_LENGTH`: bytes of JSON before the tensor; None where all is JSON.
    preset
        The model.
    settings
        Limits.

    Raises
    ------
    Invalid
        Or a subclass; the request is faulty.

    """
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
    wanted = InferRequest(head, preset.name)
    mels = _mels(_list("inputs", head.get("inputs")), memoryview(data)[size:])
    if mels.ndim > 2 and 1 in mels.shape[2:] and preset.config.n_mels not in mels.shape[1:]:
        mels = mels.squeeze(tuple(n for n in range(2, mels.ndim) if mels.shape[n] == 1))
    wanted.batched = mels.ndim > 2
    options = read_options({**wanted.options, "config": preset.name})
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
    """The input tensor from the JSON or the bytes after it: two axes, or more for a batch."""
    if len(inputs) != 1:
        raise Invalid("inputs", brief(inputs), "one input, 'mel'")
    tensor = _object("inputs", inputs[0])
    if tensor.get("name") != "mel":
        raise Invalid("inputs", f"an input {brief(tensor.get('name'))}", "'mel'")
    name, shape = tensor.get("datatype"), tensor.get("shape")
    dtype = _DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise Invalid("mel", f"datatype {brief(name)}", "one of " + ", ".join(_DTYPES))
    if (
        not isinstance(shape, list)
        or not 2 <= len(shape) <= MAX_AXES
        or not all(type(n) is int and 0 <= n < 2**31 for n in shape)
    ):
        raise Invalid(
            "mel", f"shape {brief(shape)}", "[n_mels, frames], or [batch, n_mels, frames]"
        )
    count = math.prod(shape)
    parameters = _object("mel.parameters", tensor.get("parameters"))
    _refuse_shared_memory("mel", parameters)
    size = parameters.get("binary_data_size")
    if size is None:
        values = parse_json_array("mel", tensor.get("data")).reshape(-1)
        if values.size != count:
            raise Invalid("mel", f"{values.size} numbers for shape {shape}", f"{count} numbers")
        with np.errstate(over="ignore"):  # check_mel refuses infinite values
            return reshape("mel", values if name == "BF16" else values.astype(dtype), shape)
    if type(size) is not int or size != count * dtype.itemsize or size != len(raw):
        raise Invalid(
            "mel",
            f"binary_data_size {brief(size)} and {len(raw)} bytes for shape {shape} of {name}",
            f"{count * dtype.itemsize} bytes",
        )
    values = np.frombuffer(raw, dtype)
    if name == "BF16":
        values = widen_bfloat16(values)
    return reshape("mel", values, shape)


def _object(field: str, value: Any) -> dict[str, Any]:
    """A copy of an object; an empty one for null, as clients write what is not given."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(field, brief(value), "an object")
    return dict(value)


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid(field, brief(value), "a list")
    return value
