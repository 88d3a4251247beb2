"""Preset: a named mel config with its source, and the short forms that the tables of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unmel.models.mel.config import MelConfig


@dataclass(frozen=True)
class Preset:
    """A named config with its project and the file of the project that defines it."""

    name: str
    project: str
    source: str
    config: MelConfig
    note: str = ""


def mel_config(rate: int, n_fft: int, hop: int, n_mels: int, **rest: Any) -> MelConfig:
    """The config of a sample rate in Hz, lengths in samples, and what differs from the defaults."""
    return MelConfig(sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, **rest)


def ln(clip: float, offset: float = 0.0) -> dict[str, Any]:
    """The scale `ln(max(mel, clip) + offset)`."""
    return {"kind": "ln", "clip": clip, "offset": offset}


def log10(clip: float) -> dict[str, Any]:
    """The scale `log10(max(mel, clip))`."""
    return {"kind": "log10", "clip": clip}
