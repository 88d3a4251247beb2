"""Settings: the environment (`UNMEL_...`) read once into a frozen object, cross-checked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from unmel.models.engine.choose import Wanted
from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS
from unmel.service.ops.cores import usable_cores
from unmel.service.ops.keys import split_keys
from unmel.service.ops.logs import Format

LONGEST_SECONDS = 86_400
"""Upper bound of every time that can be set or asked for: a day."""


class Settings(BaseSettings):
    """Each field is read from `UNMEL_` and its name in capitals; lists are JSON."""

    # Its input may be a key.
    model_config = SettingsConfigDict(
        env_prefix="UNMEL_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to compute; auto takes CUDA if there is one."
    )
    backend: Wanted = Field(
        "auto",
        description="What computes: `torch`, `numba` on a CPU, `triton` on a GPU; auto takes the "
        "fast one of the device, and torch with a warning where it cannot be had.",
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
    max_json_mb: int = Field(
        8, ge=1, le=1024, description="Largest JSON body, MiB: no other request runs as it parses."
    )
    max_held_mb: int = Field(
        1024,
        ge=1,
        le=2**20,
        description="Most that bodies, mels and answers take together, MiB, before 503.",
    )
    client_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="A body that takes longer to come gets 408; an answer not read for that long "
        "is broken off.",
    )
    max_streams: int = Field(
        64, ge=1, le=65536, description="Streams open at once, before 503 or close code 1013."
    )
    max_message_bytes: int = Field(
        2**18, ge=2**12, le=2**26, description="Largest message of a WebSocket, bytes."
    )
    max_frames: int = Field(60_000, ge=1, le=10_000_000, description="Most frames of a request.")
    max_points: int = Field(
        2**26,
        ge=2**15,
        le=2**34,
        description="Most frames times n_fft of a request; each point takes about 20 bytes.",
    )
    max_iterations: int = Field(2000, ge=1, le=100_000, description="Largest n_iter of a request.")
    pack_mb: int = Field(
        512,
        ge=16,
        le=2**20,
        description="MiB of memory that a pack may take, of which each lane has one. How many "
        "frames that is depends on config and method; a longer mel is done in blocks.",
    )
    max_pack_seconds: float = Field(
        2.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="Estimated seconds that a pack may take, beyond its first item.",
    )
    linger_ms: float = Field(
        0.0, ge=0, le=60_000, description="Milliseconds a free lane waits for others to join."
    )
    max_queue_seconds: float = Field(
        20.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="Estimated wait for a lane, seconds, before 503.",
    )
    deadline_seconds: float = Field(
        600.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="Time for an answer, unless X-Deadline-Ms gives less: 503 at once if it cannot "
        "be kept, 504 if it was not.",
    )
    hang_seconds: float = Field(
        120.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="A lane is replaced when a pack takes this and ten times the estimate.",
    )
    drain_seconds: int = Field(
        30, ge=1, le=3600, description="Grace for accepted work after SIGTERM, seconds."
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys that requests must bring, between commas; none: open to all.",
    )
    api_keys_file: Path | None = Field(
        None, description="A file with more of them, a line each; read at start-up."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description='Origins whose pages may use the service (JSON list), or ["*"].'
    )
    otlp_endpoint: str | None = Field(
        None,
        description="Where traces go by OTLP over HTTP, as http://host:4318/v1/traces "
        "(needs the extra `otel`).",
    )
    log_format: Format = Field("json", description="`json` or `text`, a line each.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is printed."
    )

    @model_validator(mode="after")
    def _known_presets(self) -> Settings:
        unknown = [name for name in self.warm_presets if name not in PRESETS]
        if unknown:
            raise ValueError(f"warm_presets: no preset {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _hangs_together(self) -> Settings:
        if self.max_queue_seconds > self.drain_seconds:
            raise ValueError(
                f"max_queue_seconds: {self.max_queue_seconds:g} s of work are more than the "
                f"drain_seconds of {self.drain_seconds} can finish"
            )
        if self.max_body_mb > self.max_held_mb:
            raise ValueError(f"max_held_mb: less than one body of {self.max_body_mb} MiB")
        self.read_keys()
        return self

    def read_keys(self) -> tuple[str, ...]:
        """The keys of both settings; ValueError if one is too weak or the file is not there."""
        text = self.api_keys.get_secret_value()
        if self.api_keys_file is not None:
            try:
                text += "\n" + self.api_keys_file.read_text()
            except (OSError, UnicodeError) as error:
                raise ValueError(f"api_keys_file: {self.api_keys_file}: {error}") from None
        keys = split_keys(text)
        if self.api_keys_file is not None and not keys:
            raise ValueError(f"api_keys_file: {self.api_keys_file}: no key in it")
        return keys

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * 2**20

    @property
    def max_json_bytes(self) -> int:
        return self.max_json_mb * 2**20

    @property
    def max_held_bytes(self) -> int:
        return self.max_held_mb * 2**20

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
