"""What the Open Inference Protocol says of the server and its models, which are the presets."""

from __future__ import annotations

from typing import Any

from unmel import __version__
from unmel.models.mel import PRESETS, Preset
from unmel.service.errors import NotFound

NAME = "unmel"
VERSION = "1"
"""The version of every model."""


def describe_server(*extensions: str) -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": NAME, "version": __version__, "extensions": list(extensions)}


def find_model(model: str, version: str = VERSION) -> Preset:
    """Find a model.

    Parameters
    ----------
    model
        Name of a preset.
    version
        `VERSION`, the only one.

    Raises
    ------
    NotFound
        There is none of this name or version.

    """
    if model not in PRESETS:
        raise NotFound("model", repr(model[:80]), "one of " + ", ".join(PRESETS))
    if version != VERSION:
        raise NotFound("version", repr(version[:80]), VERSION)
    return PRESETS[model]


def describe_model(preset: Preset) -> dict[str, Any]:
    """Tensors of a model, without the axis of the batch; `lengths` is optional."""
    return {
        "name": preset.name,
        "versions": [VERSION],
        "platform": NAME,
        "inputs": [
            {"name": "mel", "datatype": "FP32", "shape": [preset.config.n_mels, -1]},
            {"name": "lengths", "datatype": "INT64", "shape": [1]},
        ],
        "outputs": [
            {"name": "audio", "datatype": "FP32", "shape": [-1]},
            {"name": "samples", "datatype": "INT64", "shape": [1]},
            {"name": "errors", "datatype": "BYTES", "shape": [1]},
        ],
    }
