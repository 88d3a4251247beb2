"""Request of the Open Inference Protocol: options, deadline, outputs, inputs.

References: https://github.com/kserve/open-inference-protocol,
specification/protocol/inference_rest.md; for binary tensors and the parameters of its client
https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md,
extension_sequence.md, extension_schedule_policy.md, extension_classification.md and
extension_shared_memory.md; https://github.com/SeldonIO/MLServer, mlserver/types/dataplane.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from unmel.models.engine import Item
from unmel.models.errors import Invalid
from unmel.models.mel import Members
from unmel.service.wire.codecs import MAX_AXES
from unmel.service.wire.problems import brief
from unmel.service.wire.requests import ReconstructRequest, read_flag
from unmel.service.wire.schemas import ReconstructOptions
from unmel.service.wire.tensors import (
    FLOATS,
    INTEGERS,
    GivenTensor,
    copy_object,
    list_of,
    refuse_shared_memory,
)

OUTPUTS = ("audio", "samples", "errors")
"""The tensors of an answer; the last two where `lengths` or the client's outputs name them."""
# The model stands for the config, and the output is always one tensor of floats.
_FORBIDDEN_PARAMETERS = frozenset({"config", "format", "output"})
_BINARY_OUTPUT, _TIMEOUT = "binary_data_output", "timeout"
# Sent by Triton's client and MLServer's of their own accord, or without meaning for a whole
# request: it is part of no sequence, and there are no priorities and no codecs.
_IGNORED_PARAMETERS = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "content_type", "headers"}
)
_RESERVED = "triton_"
_MICROSECONDS = 1_000_000
# A sample in a JSON answer: a float in a list (32 bytes), and its digits as text and encoded.
_JSON_SAMPLE_BYTES = 84


class InferRequest:
    """A batch of reconstructions, and the form of the answer.

    Parameters
    ----------
    head
        `id`, `parameters` and `outputs` of the protocol, whatever carried them.
    model
        Name of the model.
    tensors
        The inputs.
    raw
        Whether the answer's tensors are bytes where the head does not say.

    """

    def __init__(
        self,
        head: dict[str, Any],
        model: str,
        tensors: Sequence[GivenTensor],
        *,
        raw: bool = False,
    ) -> None:
        self.model = model
        self.id = head.get("id")
        if self.id is not None and not isinstance(self.id, str):
            raise Invalid("id", brief(self.id), "a string")
        given = copy_object("parameters", head.get("parameters"))
        binary = read_flag(
            "parameters.binary_data_output", given.pop(_BINARY_OUTPUT, None), default=raw
        )
        timeout = given.pop(_TIMEOUT, None) or 0  # 0 is Triton's "none"
        if type(timeout) is not int or timeout < 0:
            raise Invalid("parameters.timeout", brief(timeout), "microseconds, or 0 for no limit")
        self.timeout = timeout / _MICROSECONDS if timeout else None
        self.options = own_options(given, ReconstructOptions, _BINARY_OUTPUT, _TIMEOUT)
        self.mels, self.lengths = _inputs(tensors)
        self.outputs = _outputs(list_of("outputs", head.get("outputs") or []), binary)
        """Wanted tensors, each with whether it is bytes rather than a list."""
        if not self.outputs:
            names = OUTPUTS if self.lengths is not None else OUTPUTS[:1]
            self.outputs = dict.fromkeys(names, binary)
        self.clips: list[ReconstructRequest | Exception] = []
        """Each of the batch, or what is wrong with it."""
        self.batched = False

    @property
    def partial(self) -> bool:
        """Whether a faulty mel is refused alone: where the answer has a place to say so."""
        return "errors" in self.outputs

    @property
    def good(self) -> list[ReconstructRequest]:
        """The clips that are computed."""
        return [clip for clip in self.clips if isinstance(clip, ReconstructRequest)]

    @property
    def items(self) -> list[Item]:
        return [clip.item for clip in self.good]

    @property
    def nbytes(self) -> int:
        samples = [_output_samples(clip) for clip in self.good]
        filled = len(self.clips) * max(samples)
        nbytes = sum(clip.nbytes for clip in self.good) + 4 * (filled - sum(samples))
        return nbytes if self.outputs.get("audio", True) else nbytes + _JSON_SAMPLE_BYTES * filled


def own_options(parameters: dict[str, Any], kind: type[Members], *others: str) -> dict[str, Any]:
    """Options of a kind of work among a request's parameters; `others` were taken already.

    Raises
    ------
    Invalid
        For a parameter that is neither one nor ignored.

    """
    given = {
        name: value
        for name, value in parameters.items()
        if value is not None and name not in _IGNORED_PARAMETERS and not name.startswith(_RESERVED)
    }
    allowed = [name for name in kind.model_fields if name not in _FORBIDDEN_PARAMETERS]
    for name in sorted(set(given) - set(allowed)):
        if name in _FORBIDDEN_PARAMETERS:
            raise Invalid(f"parameters.{name}", "a value", "nothing: the model determines it")
        taken = ", ".join([*allowed, *others])
        ignored = ", ".join(sorted(_IGNORED_PARAMETERS))
        raise Invalid(
            f"parameters.{name[:80]}", "a value", f"one of {taken}; {ignored} are ignored"
        )
    return given


def _inputs(tensors: Sequence[GivenTensor]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The mel, of two axes or more for a batch, and the numbers of frames if they are given."""
    by_name = {tensor.name: tensor for tensor in tensors if isinstance(tensor.name, str)}
    for tensor in tensors:
        if tensor.name not in ("mel", "lengths"):
            raise Invalid("inputs", f"an input {brief(tensor.name)}", "'mel', and 'lengths' or not")
    if "mel" not in by_name or len(by_name) < len(tensors):
        raise Invalid("inputs", brief(list(tensors)), "one input, 'mel', and 'lengths' or not")
    shape = "[n_mels, frames], or [batch, n_mels, frames]"
    mels = by_name["mel"].values(FLOATS, range(2, MAX_AXES + 1), shape)
    if "lengths" not in by_name:
        return mels, None
    lengths = by_name["lengths"].values(INTEGERS, range(1, 3), "[batch], or [batch, 1]")
    if lengths.ndim > 1 and lengths.shape[1] != 1:
        raise Invalid("lengths", f"shape {list(lengths.shape)}", "[batch], or [batch, 1]")
    return mels, lengths.reshape(-1)


def _outputs(outputs: list[Any], binary: bool) -> dict[str, bool]:
    """The outputs that a client asks for; an empty object where it names none."""
    wanted = {}
    for output in outputs:
        entry = copy_object("outputs", output)
        name = entry.get("name")
        if name not in OUTPUTS:
            expected = ", ".join(map(repr, OUTPUTS))
            raise Invalid("outputs", f"an output {brief(name)}", f"one of {expected}")
        parameters = copy_object("outputs.parameters", entry.get("parameters"))
        refuse_shared_memory("outputs", parameters)
        if parameters.get("classification"):
            raise Invalid(
                "outputs.parameters.classification",
                brief(parameters["classification"]),
                "nothing: the output is audio, which has no classes",
            )
        wanted[name] = read_flag(
            "outputs.parameters.binary_data", parameters.get("binary_data"), default=binary
        )
    return wanted


def _output_samples(clip: ReconstructRequest) -> int:
    """Samples of a clip at the rate of the answer."""
    rate = clip.item.config.sample_rate
    return math.ceil(clip.item.samples * (clip.levels.sample_rate or rate) / rate)
