"""Scales of mel values: linear, logarithmic, decibel and two normalised forms.

A scale maps linear mel values (of any power, non-negative) to stored ones (`compress`) and back
(`decompress`). The two are inverse to each other above the level that the scale clamps to;
`clamp_level` gives that level, so that a reconstruction can take values at it as upper bounds and
not as targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unmel.models.mel.members import Members, fault
from unmel.models.mel.synonyms import SCALE_SYNONYMS

_LN10 = math.log(10.0)

# The smallest level other than zero: a float32 holds it, and its logarithm.
MIN_LEVEL = 1e-30

PositiveLevel = Annotated[float, Field(ge=MIN_LEVEL, le=1e6, allow_inf_nan=False)]
Decibel = Annotated[float, Field(ge=-400, le=400, allow_inf_nan=False)]

Level = TypeVar("Level", float, Tensor)


def _at_least(floor: float, level: Level) -> Level:
    return level.clamp_min(floor) if isinstance(level, Tensor) else max(floor, level)


class _Scale(Members):
    synonyms: ClassVar[Mapping[str, str]] = SCALE_SYNONYMS

    def compress(self, mel: Tensor, power: float) -> Tensor:
        """Stored values of a linear mel.

        Parameters
        ----------
        mel
            Linear mel `[..., K]`, at least zero.
        power
            `p` of a mel of `|X|^p`: 1 for magnitudes, 2 for powers.

        Returns
        -------
        Tensor
            Stored values `[..., K]`.
        """
        raise NotImplementedError

    def decompress(self, values: Tensor, power: float) -> Tensor:
        """Linear mel of stored values, the inverse of `compress`.

        Parameters
        ----------
        values
            Stored values `[..., K]`.
        power
            `p` of a mel of `|X|^p`: 1 for magnitudes, 2 for powers.

        Returns
        -------
        Tensor
            Linear mel `[..., K]`, at least zero.
        """
        raise NotImplementedError

    def clamp_level(self, loudest: Level, power: float) -> Level | float:
        """The linear level that `compress` raised quieter values to; 0 for none.

        Parameters
        ----------
        loudest
            Largest value of the clip's linear mel, 0 for none; or those of many clips.
        power
            `p` of a mel of `|X|^p`: 1 for magnitudes, 2 for powers.
        """
        return 0.0


class LinearScale(_Scale):
    """The mel itself."""

    kind: Literal["linear"] = "linear"

    def compress(self, mel: Tensor, power: float) -> Tensor:
        return mel

    def decompress(self, values: Tensor, power: float) -> Tensor:
        return values.clamp_min(0.0)


class LogScale(_Scale):
    """`log(max(mel, clip) + offset)` to base e (`ln`) or 10 (`log10`)."""

    kind: Literal["ln", "log10"]
    clip: float = Field(
        1e-5,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Smallest linear mel value before the logarithm; 0 for none.",
    )
    offset: float = Field(
        0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Added to the linear mel before the logarithm (NeMo, StyleTTS 2).",
    )

    @model_validator(mode="after")
    def _has_a_floor(self) -> LogScale:
        if max(self.clip, self.offset) < MIN_LEVEL:
            got = f"{self.clip:g}, with an offset of {self.offset:g}"
            raise fault("clip", got, f"{MIN_LEVEL:g} or more in one of them: log(0) is possible")
        return self

    def compress(self, mel: Tensor, power: float) -> Tensor:
        # ln(x + c) = ln c + log1p(x / c), which keeps small values where c is 1 (NeMo 44k).
        mel = mel.clamp_min(self.clip)
        logs = (
            torch.log1p(mel / self.offset) + math.log(self.offset)
            if self.offset >= MIN_LEVEL
            else mel.log()
        )
        return logs if self.kind == "ln" else logs / _LN10

    def decompress(self, values: Tensor, power: float) -> Tensor:
        logs = values if self.kind == "ln" else values * _LN10
        if self.offset < MIN_LEVEL:
            return logs.exp()
        return torch.expm1(logs - math.log(self.offset)).clamp_min(0.0) * self.offset

    def clamp_level(self, loudest: Level, power: float) -> Level | float:
        return self.clip


class DecibelScale(_Scale):
    """`10 log10(max(P, floor)) - 10 log10(reference)` of the power `P`, as librosa's `*_to_db`.

    Of a mel of another power `p` it is `P = mel^(2/p)`; for magnitudes that is librosa's
    `amplitude_to_db`.
    """

    kind: Literal["db"] = "db"
    reference: PositiveLevel = Field(1.0, description="Power of 0 dB.")
    floor: PositiveLevel = Field(
        1e-10, description="Smallest power before the logarithm (librosa's amin)."
    )
    top_db: float | None = Field(
        None,
        gt=0,
        le=400,
        allow_inf_nan=False,
        description="Range kept below the loudest value of the clip, in dB; null for all.",
    )

    def compress(self, mel: Tensor, power: float) -> Tensor:
        if power in (1, 2):
            level = mel if power == 2 else mel * mel
            db = 10.0 * torch.log10(level.clamp_min(self.floor))
        else:  # the same, without a power that overflows
            least = math.pow(self.floor, power / 2)
            db = (20.0 / power) * torch.log10(mel.clamp_min(least))
        db = db - 10.0 * math.log10(self.reference)
        return db if self.top_db is None else torch.maximum(db, db.max() - self.top_db)

    def decompress(self, values: Tensor, power: float) -> Tensor:
        # 10^(dB/10) is a power, and the mel the p/2-th of it.
        return torch.exp(values * (_LN10 * power / 20.0)) * math.pow(self.reference, power / 2)

    def clamp_level(self, loudest: Level, power: float) -> Level | float:
        floor = math.pow(self.floor, power / 2)
        if self.top_db is None:
            return floor
        return _at_least(floor, loudest * math.pow(10.0, -self.top_db * power / 20.0))


class CoquiScale(_Scale):
    """Coqui TTS' symmetric normalisation (`TTS/utils/audio/processor.py`).

    `S = 20 log10(max(mel, 1e-8)) - ref_db`, then `2 a (S - min_db) / -min_db - a`, clipped to
    `+-a` with `a = max_norm`.
    """

    kind: Literal["coqui"] = "coqui"
    ref_db: Decibel = Field(20.0, description="Subtracted from the level in dB.")
    min_db: float = Field(-100.0, ge=-400, lt=0, description="Level stored as -max_norm, dB.")
    max_norm: float = Field(4.0, gt=0, le=100, description="Largest stored value.")

    def compress(self, mel: Tensor, power: float) -> Tensor:
        db = (20.0 / power) * torch.log10(mel.clamp_min(1e-8)) - self.ref_db
        stored = 2.0 * self.max_norm * (db - self.min_db) / -self.min_db - self.max_norm
        return stored.clamp(-self.max_norm, self.max_norm)

    def decompress(self, values: Tensor, power: float) -> Tensor:
        values = values.clamp(-self.max_norm, self.max_norm)
        db = (values + self.max_norm) * (-self.min_db / (2.0 * self.max_norm)) + self.min_db
        return torch.exp((db + self.ref_db) * (_LN10 * power / 20.0))

    def clamp_level(self, loudest: Level, power: float) -> Level | float:
        lowest = math.pow(10.0, (self.min_db + self.ref_db) * power / 20.0)
        return max(lowest, 1e-8)


class WhisperScale(_Scale):
    """Whisper's `(max(log10(max(mel, 1e-10)), peak - 8) + 4) / 4` (`whisper/audio.py`)."""

    kind: Literal["whisper"] = "whisper"

    def compress(self, mel: Tensor, power: float) -> Tensor:
        logs = torch.log10(mel.clamp_min(1e-10))
        if logs.numel():
            logs = torch.maximum(logs, logs.max() - 8.0)
        return (logs + 4.0) / 4.0

    def decompress(self, values: Tensor, power: float) -> Tensor:
        return torch.exp((values * 4.0 - 4.0) * _LN10)

    def clamp_level(self, loudest: Level, power: float) -> Level | float:
        return _at_least(1e-10, loudest * 1e-8)


Scale = Annotated[
    LinearScale | LogScale | DecibelScale | CoquiScale | WhisperScale,
    Field(discriminator="kind"),
]
