"""Vocos's network for timing: its package's own code with untrained weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

import torch

from benchmarks.peers import load_torchaudio
from unmel.models.mel.config import MelConfig

_TORCHAUDIO = ("torchaudio", "torchaudio.functional", "torchaudio.functional.functional")


def load_vocos() -> tuple[ModuleType, ModuleType] | None:
    """The package's `models` and `heads`, or None where `vocos` is not installed.

    `pip install --no-deps vocos` is enough: the package's own door, which asks for what trained
    weights and codecs need, is passed by, and where torchaudio does not load, empty modules stand
    in for it: two conversions of mels that this network does not use are all that is taken.
    """
    found = importlib.util.find_spec("vocos")
    if found is None or found.submodule_search_locations is None:
        return None
    package = ModuleType("vocos")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["vocos"] = package
    if load_torchaudio() is None:
        for name in _TORCHAUDIO:
            sys.modules[name] = ModuleType(name)
        for name in ("_hz_to_mel", "_mel_to_hz"):
            setattr(sys.modules[_TORCHAUDIO[-1]], name, None)
    return importlib.import_module("vocos.models"), importlib.import_module("vocos.heads")


def vocos_network(config: MelConfig, frames: int) -> Callable[[], None] | None:
    """A forward pass of `charactr/vocos-mel-24khz` over a number of frames, or None."""
    loaded = load_vocos()
    if loaded is None:
        return None
    models, heads = loaded
    backbone = models.VocosBackbone(
        input_channels=config.n_mels, dim=512, intermediate_dim=1536, num_layers=8
    ).eval()
    head = heads.ISTFTHead(dim=512, n_fft=config.n_fft, hop_length=config.hop_length).eval()
    mel = torch.randn(1, config.n_mels, frames)

    def run() -> None:
        with torch.inference_mode():
            head(backbone(mel))

    return run
