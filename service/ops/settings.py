"""Settings: environment variables `UNMEL_...`, read once into a frozen object and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from unmel.models.errors import Invalid
from unmel.service.ops.cores import usable_cores
from unmel.service.ops.keys import Key, split_keys
from unmel.service.ops.logs import Format

LONGEST_SECONDS = 86_400
"""Upper bound of every duration in settings and requests: a day."""

_LEAST_PACK_MB = 16


class Settings(BaseSettings):
    """Each field comes from the variable `UNMEL_` plus its name in capitals; lists are JSON."""

    # The input of a wrong value may be a key, which must not reach a log.
    model_config = SettingsConfigDict(
        env_prefix="UNMEL_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    grpc_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the Open Inference Protocol's gRPC service (needs the extra `grpc`); "
        "0 for none.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Device for computation; `auto` uses CUDA where it is available."
    )
    backend: Literal["auto", "torch", "numba", "triton"] = Field(
        "auto",
        description="Backend for computation: `torch`, `numba` (CPU only) or `triton` (GPU only); "
        "`auto` uses the fastest one of the device and falls back to torch with a warning.",
    )
    lanes: int = Field(
        0,
        ge=0,
        le=1024,
        description="Packs computed at once; 0 means one lane per core, or two on a GPU.",
    )
    plan_cache_mb: int = Field(
        256,
        ge=1,
        le=65536,
        description="Size of the plan cache, MiB; the least recently used plan is dropped.",
    )
    filterbank_mb: int = Field(
        64,
        ge=32,
        le=65536,
        description="Memory for filterbanks that clients sent, MiB, by whose digest later requests "
        "name them; the least recently used is dropped.",
    )
    warm_presets: tuple[str, ...] = Field(
        ("hifigan-22k", "tacotron2-22k", "vocos-24k", "whisper-80"),
        description="Presets whose plans are computed before the service reports ready (JSON "
        "list).",
    )
    max_body_mb: int = Field(64, ge=1, le=4096, description="Largest request body, MiB.")
    max_json_mb: int = Field(
        8, ge=1, le=1024, description="Largest JSON body, MiB; parsing it blocks other requests."
    )
    max_held_mb: int = Field(
        1024,
        ge=1,
        le=2**20,
        description="Memory for bodies, mels and answers of all requests, MiB; beyond it "
        "requests get 503.",
    )
    client_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Seconds for a body to arrive, else 408, and for a client to read on, else "
        "the connection is closed.",
    )
    max_streams: int = Field(
        64,
        ge=1,
        le=65536,
        description="Streams open at once; further ones get 503 or close code 1013.",
    )
    max_message_bytes: int = Field(
        2**18,
        ge=2**12,
        le=2**26,
        description="Largest WebSocket message, and most frames of a request on a gRPC stream, "
        "bytes.",
    )
    max_frames: int = Field(
        60_000, ge=1, le=10_000_000, description="Largest number of frames in a request."
    )
    max_points: int = Field(
        2**26,
        ge=2**15,
        le=2**34,
        description="Largest product of frames and n_fft in a request; each point takes about 20 "
        "bytes.",
    )
    max_iterations: int = Field(2000, ge=1, le=100_000, description="Largest n_iter in a request.")
    pack_mb: int = Field(
        0,
        ge=0,
        le=2**20,
        description="Memory for a pack, MiB; 0 means 512, or 2048 on a GPU, whose longer packs "
        "compute more a second up to about there. Each lane computes one at a time. The number "
        "of frames in it depends on config and method; a longer mel is computed in blocks.",
    )
    max_pack_seconds: float = Field(
        2.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="Longest estimated time of a pack, seconds; its first item always fits.",
    )
    linger_ms: float = Field(
        0.0,
        ge=0,
        le=60_000,
        description="Time that a free lane waits for more requests to join a pack, milliseconds.",
    )
    max_queue_seconds: float = Field(
        20.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="Longest estimated wait for a lane, seconds; beyond it requests get 503.",
    )
    deadline_seconds: float = Field(
        600.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="Default deadline, and upper bound of X-Deadline-Ms, seconds: 503 at once if "
        "it cannot be met, 504 if it passes in the queue.",
    )
    hang_seconds: float = Field(
        120.0,
        gt=0,
        le=LONGEST_SECONDS,
        description="A lane is replaced when a pack takes these seconds plus ten times its "
        "estimate.",
    )
    drain_seconds: int = Field(
        30, ge=1, le=3600, description="Time to finish accepted work after SIGTERM, seconds."
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Valid API keys, separated by commas, each `key` or `label:key`; the label is "
        "in the log and the metrics. Without any the service is open to all.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File with further API keys, one per line, labelled likewise; read at "
        "start-up.",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description='Origins of web pages that may use the service (JSON list), or ["*"].'
    )
    otlp_endpoint: str | None = Field(
        None,
        description="URL for traces by OTLP over HTTP, such as http://host:4318/v1/traces "
        "(needs the extra `otel`).",
    )
    log_format: Format = Field("json", description="Format of log lines: `json` or `text`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )

    @model_validator(mode="after")
    def _known_presets(self) -> Settings:
        from unmel.models.mel import PRESETS  # noqa: PLC0415 - it loads torch

        unknown = [name for name in self.warm_presets if name not in PRESETS]
        if unknown:
            raise ValueError(f"warm_presets: no preset {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.max_queue_seconds > self.drain_seconds:
            raise ValueError(
                f"max_queue_seconds: {self.max_queue_seconds:g} s of work cannot be finished "
                f"within drain_seconds ({self.drain_seconds})"
            )
        if self.grpc_port and self.grpc_port == self.port:
            raise ValueError(f"grpc_port: {self.port} is the port of HTTP")
        if self.max_body_mb > self.max_held_mb:
            raise ValueError(f"max_held_mb: less than one body of {self.max_body_mb} MiB")
        if 0 < self.pack_mb < _LEAST_PACK_MB:
            raise ValueError(f"pack_mb: 0, or {_LEAST_PACK_MB} and more")
        self.read_keys()
        return self

    def read_keys(self) -> tuple[Key, ...]:
        """Read the keys of both settings.

        Raises
        ------
        ValueError
            A key or a label is not well-formed, a key is repeated, or the file cannot be read or
            has no key.

        """
        texts = {"api_keys": self.api_keys.get_secret_value()}
        if self.api_keys_file is not None:
            try:
                texts["api_keys_file"] = self.api_keys_file.read_text()
            except OSError as error:
                # Its name stays out: where the two settings were mixed up, it is a key.
                reason = error.strerror or "not readable"
                raise ValueError(f"api_keys_file: the file of this name: {reason}") from None
            except UnicodeError:  # whose text quotes a byte of the file
                raise ValueError("api_keys_file: the file is not UTF-8") from None
        keys = split_keys(texts)
        if self.api_keys_file is not None and not keys:
            raise ValueError("api_keys_file: no key in the file")
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
        """Choose the device.

        Returns
        -------
        `cpu` or `cuda`.

        Raises
        ------
        Invalid
            CUDA is required and not available.

        """
        import torch  # noqa: PLC0415 - only a process that computes loads it

        if self.device == "cpu":
            return "cpu"
        if torch.cuda.is_available():
            return "cuda"
        if self.device == "cuda":
            raise Invalid("UNMEL_DEVICE", "cuda", "auto or cpu: torch finds no CUDA device")
        return "cpu"

    def resolve_pack_bytes(self, device: str) -> int:
        """The bytes of memory that a pack may take.

        Parameters
        ----------
        device
            `cpu` or `cuda`.

        """
        return (self.pack_mb or (2048 if device == "cuda" else 512)) * 2**20

    def resolve_lanes(self, device: str) -> int:
        """Choose the number of lanes.

        Parameters
        ----------
        device
            `cpu` or `cuda`.

        Returns
        -------
        The setting if it is above 0, else one for each usable core, or two on a GPU, of which
        one copies while the other computes.

        """
        return self.lanes or (2 if device == "cuda" else usable_cores())
