"""Messages of the Open Inference Protocol: protobuf to checked work, answers to protobuf.

The classes are those that tritonclient ships. Reference: https://github.com/
triton-inference-server/common, protobuf/grpc_service.proto and model_config.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import model_config_pb2, service_pb2

from unmel.models.errors import Invalid, Unreadable
from unmel.models.mel import Preset
from unmel.service.ops.settings import Settings
from unmel.service.wire.infer import MAX_BATCH, check_infer_request
from unmel.service.wire.infer_answer import InferAnswer
from unmel.service.wire.infer_head import InferRequest
from unmel.service.wire.infer_models import NAME, describe_model
from unmel.service.wire.tensors import GivenTensor

SERVICE: str = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
FINAL = "triton_final_response"
"""Parameter of a stream's answers: true for the last one of a request or a sequence."""
# Where a tensor's values are if they are not bytes.
_CONTENTS = {
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
}


def parse_message(method: str, data: bytes) -> Any:
    """Read the request message of a method; Unreadable if the bytes are none."""
    kind = getattr(service_pb2, f"{method}Request")
    try:
        return kind.FromString(data)
    except DecodeError:
        raise Unreadable("message", f"{len(data)} bytes that do not parse", kind.__name__) from None


def parameters_of(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Values of parameters by name."""
    return {
        name: getattr(entry, kind) if (kind := entry.WhichOneof("parameter_choice")) else None
        for name, entry in entries.items()
    }


def tensors_of(message: Any) -> list[GivenTensor]:
    """The inputs of a request.

    Raises
    ------
    Invalid
        There are raw contents for some inputs only, or values in no field of their datatype.

    """
    raw, given = message.raw_input_contents, []
    if raw and len(raw) != len(message.inputs):
        got = f"{len(raw)} for {len(message.inputs)} inputs"
        raise Invalid("raw_input_contents", got, "one for each input, or none")
    for number, tensor in enumerate(message.inputs):
        parameters = parameters_of(tensor.parameters)
        data, part = None, None
        if raw:
            part = memoryview(raw[number])
        elif tensor.datatype in _CONTENTS:
            field, dtype = _CONTENTS[tensor.datatype]
            values = getattr(tensor.contents, field)
            data = np.fromiter(values, dtype, len(values))
        elif not parameters:  # which may say that it is elsewhere
            got = f"{tensor.datatype[:40]!r} without raw_input_contents"
            raise Invalid(tensor.name[:80], got, "raw_input_contents, or " + ", ".join(_CONTENTS))
        kind, shape = tensor.datatype, list(tensor.shape)
        given.append(GivenTensor(tensor.name, kind, shape, parameters, data, part))
    return given


def read_infer_message(message: Any, preset: Preset, settings: Settings) -> InferRequest:
    """Read and check a ModelInferRequest; parameters and errors as of `read_infer_request`."""
    outputs = [
        {"name": output.name, "parameters": parameters_of(output.parameters)}
        for output in message.outputs
    ]
    head = {
        "id": message.id or None,
        "parameters": parameters_of(message.parameters),
        "outputs": outputs,
    }
    wanted = InferRequest(head, preset.name, tensors_of(message), raw=True)
    return check_infer_request(wanted, preset, settings)


def answer_message(answer: InferAnswer) -> Any:
    """A ModelInferResponse of an answer."""
    message = service_pb2.ModelInferResponse(
        model_name=answer.model, model_version=answer.version, id=answer.id or ""
    )
    set_parameters(message, answer.parameters)
    for tensor in answer.tensors:
        message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_output_contents.append(tensor.raw())
    return message


def set_parameters(message: Any, parameters: Mapping[str, object]) -> None:
    """Set parameters of an answer; None and an empty list are left out, others joined."""
    for name, value in parameters.items():
        entry = message.parameters
        if isinstance(value, bool):
            entry[name].bool_param = value
        elif isinstance(value, int):
            kind = "int64_param" if value < 2**63 else "uint64_param"
            setattr(entry[name], kind, value)
        elif isinstance(value, float):
            entry[name].double_param = value
        elif isinstance(value, list):
            if value:
                entry[name].string_param = "; ".join(map(str, value))
        elif value is not None:
            entry[name].string_param = str(value)


def error_message(text: str, model: str = "", ident: str = "", **parameters: object) -> Any:
    """A ModelStreamInferResponse that says what went wrong, and with which request."""
    message = service_pb2.ModelStreamInferResponse(error_message=text)
    message.infer_response.model_name, message.infer_response.id = model, ident
    set_parameters(message.infer_response, {**parameters, FINAL: True})
    return message


def metadata_message(preset: Preset) -> Any:
    """A ModelMetadataResponse."""
    return service_pb2.ModelMetadataResponse(**describe_model(preset))


def config_message(preset: Preset) -> Any:
    """A ModelConfigResponse: decoupled, because a stream's requests have no answer each."""
    described, kinds = describe_model(preset), model_config_pb2.DataType
    config = model_config_pb2.ModelConfig(
        name=preset.name,
        platform=NAME,
        backend=NAME,
        max_batch_size=MAX_BATCH,
        model_transaction_policy=model_config_pb2.ModelTransactionPolicy(decoupled=True),
    )
    for tensor in described["inputs"]:
        config.input.add(
            name=tensor["name"],
            data_type=kinds.Value(f"TYPE_{tensor['datatype']}"),
            dims=tensor["shape"],
            optional=tensor["name"] != "mel",
        )
    for tensor in described["outputs"]:
        kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
        config.output.add(
            name=tensor["name"], data_type=kinds.Value(f"TYPE_{kind}"), dims=tensor["shape"]
        )
    return service_pb2.ModelConfigResponse(config=config)
