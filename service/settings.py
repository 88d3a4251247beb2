"""Settings: the environment (`UNMEL_...`) read once into a frozen object, cross-checked."""

from __future__ import annotations

import os
from typing import Literal

import torch
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import Invalid
from models.presets import PRESETS


def usable_cores() -> int:
    """Processors that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


class Settings(BaseSettings):
    """Each field is read from `UNMEL_` and its name in capitals; lists are JSON."""

    model_config = SettingsConfigDict(env_prefix="UNMEL_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to compute; auto takes CUDA if there is one."
    )
    lanes: int = Field(
        0, ge=0, le=1024, description="Packs computed at once; 0: a lane a core, or one on a GPU."
    )
    plan_cache_mb: int = Field(
        256, ge=1, le=65536, description="Bound of the plan cache, MiB; least recently used goes."
    )
    warm_presets: tuple[str, ...] = Field(
        ("hifigan-22k", "tacotron2-22k", "vocos-24k", "whisper-80"),
        description="Presets whose plans are made before the service reports ready (JSON list).",
    )
    max_body_mb: int = Field(64, ge=1, le=4096, description="Largest request body, MiB.")
    max_frames: int = Field(60_000, ge=1, le=10_000_000, description="Most frames of a request.")
    max_points: int = Field(
        2**26,
        ge=2**15,
        le=2**34,
        description="Most frames times n_fft of a request; each point takes about 20 bytes.",
    )
    max_iterations: int = Field(2000, ge=1, le=100_000, description="Largest n_iter of a request.")
    max_pack_frames: int = Field(
        20_000, ge=1, le=10_000_000, description="Frames a pack may hold, beyond its first item."
    )
    max_queue_seconds: float = Field(
        60.0, gt=0, le=86_400, description="Estimated seconds of waiting work before 503."
    )
    deadline_seconds: float = Field(
        300.0, gt=0, le=86_400, description="A request that has waited this long gets 504."
    )
    drain_seconds: int = Field(
        30, ge=1, le=3600, description="Grace for accepted work after SIGTERM, seconds."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is printed."
    )

    @model_validator(mode="after")
    def _known_presets(self) -> Settings:
        unknown = [name for name in self.warm_presets if name not in PRESETS]
        if unknown:
            raise ValueError(f"warm_presets: no preset {', '.join(unknown)}")
        return self

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * 2**20

    def resolve_device(self) -> str:
        """`cpu` or `cuda`; Invalid when CUDA is asked for and not there."""
        if self.device == "cpu":
            return "cpu"
        if torch.cuda.is_available():
            return "cuda"
        if self.device == "cuda":
            raise Invalid("UNMEL_DEVICE", "cuda", "auto or cpu: torch finds no CUDA device")
        return "cpu"

    def resolve_lanes(self, device: str) -> int:
        """Lanes to run: on a GPU one, on a CPU one for each usable core."""
        return self.lanes or (1 if device == "cuda" else usable_cores())
