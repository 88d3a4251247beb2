"""MelConfig: the parameters of a mel extractor, validated, and hashable as a cache key."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from torch import Tensor

from unmel.models.errors import Invalid
from unmel.models.mel.own_filterbank import OwnFilterbank
from unmel.models.mel.scale import (
    CoquiScale,
    DecibelScale,
    LinearScale,
    LogScale,
    Scale,
    WhisperScale,
)

# A squared-window sum below this share of its mean amplifies noise when it divides the signal.
MIN_ENVELOPE = 1e-2
# Most frames that may share a sample: overlap-add takes a step for each.
MAX_OVERLAP = 64
MIN_FFT = 32
# Most octaves below the whole band that are run: the fourth is a sixteenth of the band, where
# speech has its pitch.
MAX_OCTAVES = 4
# A JSON object with more members than any config has is refused before its members are validated.
_MAX_MEMBERS = 64

_SCALE_NAMES: dict[str, Scale] = {
    "linear": LinearScale(),
    "ln": LogScale(kind="ln"),
    "log10": LogScale(kind="log10"),
    "db": DecibelScale(),
    "coqui": CoquiScale(),
    "whisper": WhisperScale(),
}


def _scale_by_name(value: object) -> object:
    """The scale with default parameters for a name such as `"ln"`."""
    if isinstance(value, dict) and len(value) > _MAX_MEMBERS:
        raise ValueError(f"at most {_MAX_MEMBERS} members")
    if isinstance(value, str):
        if value not in _SCALE_NAMES:
            raise ValueError(f"no scale {value!r}; there are {', '.join(_SCALE_NAMES)}")
        return _SCALE_NAMES[value]
    return value


MeanValue = Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)]
StdValue = Annotated[float, Field(gt=1e-6, le=1e4, allow_inf_nan=False)]


@lru_cache(maxsize=64)  # every pack needs it, at each of its octaves
def _window(kind: str, length: int) -> NDArray[np.float64]:
    span = length if kind == "hann" else length - 1
    values: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / span)
    values.setflags(write=False)
    return values


class MelConfig(BaseModel):
    """One mel extractor, frozen and hashable.

    All bounds are here; a field outside them raises pydantic's ValidationError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int = Field(ge=1000, le=384_000, description="Samples a second, Hz.")
    n_fft: int = Field(
        ge=MIN_FFT, le=16_384, description="Length of the Fourier transform, samples."
    )
    hop_length: int = Field(ge=1, le=16_384, description="Step between frames, samples.")
    win_length: int = Field(
        default_factory=lambda given: given["n_fft"],
        ge=2,
        le=16_384,
        description="Window length, samples, centred in n_fft; n_fft if not given.",
    )
    window: Literal["hann", "hann_symmetric"] = Field(
        "hann",
        description="Periodic Hann (torch's default) or symmetric Hann (numpy.hanning).",
    )
    n_mels: int = Field(ge=1, le=1024, description="Number of mel bands.")
    filterbank: OwnFilterbank | None = Field(
        None,
        description="A filterbank of one's own [n_mels, n_fft/2 + 1], finite and not negative, in "
        "place of triangles; none of fmin, fmax, mel_scale, norm, triangles and filterbank_rate "
        "is given beside it. In JSON nested lists, {data, dtype, shape} with base64, or the digest "
        "of one that the service holds.",
    )
    fmin: float = Field(0.0, ge=0, le=192_000, description="Lower edge of the lowest band, Hz.")
    fmax: float = Field(
        default_factory=lambda given: given["sample_rate"] / 2,
        gt=0,
        le=192_000,
        description="Upper edge of the highest band, Hz; half the sample rate if not given.",
    )
    mel_scale: Literal["slaney", "htk"] = Field(
        "slaney", description="Formula of the mel: Slaney's Auditory Toolbox or HTK."
    )
    norm: Literal["slaney"] | None = Field(
        "slaney",
        description="'slaney': each triangle divided by half its width, in Hz (in mels where the "
        "triangles are over mels); null: peaks of 1.",
    )
    triangles: Literal["hz", "mel"] = Field(
        "hz",
        description="Axis on which the bands are triangles: frequency (librosa, torchaudio), or "
        "mels (Kaldi).",
    )
    filterbank_rate: int = Field(
        default_factory=lambda given: given["sample_rate"],
        ge=1000,
        le=384_000,
        description="Rate the filterbank was built for, Hz; the sample rate if not given "
        "(StyleTTS 2 builds its own for 16,000 Hz and feeds it 24,000).",
    )
    power: Literal[1, 2] = Field(1, description="1: mel of magnitudes; 2: of powers.")
    padding: Literal["center_reflect", "center_constant", "hifigan"] = Field(
        "center_reflect",
        description="Frames centred on multiples of the hop with n_fft/2 of reflection or zeros "
        "at both ends, or HiFi-GAN's (n_fft - hop)/2 of reflection without centring.",
    )
    drop_last: bool = Field(
        default=False, description="Whether the last centred frame is left out (Whisper)."
    )
    magnitude_eps: float = Field(
        0.0,
        ge=0,
        le=1.0,
        allow_inf_nan=False,
        description="e in sqrt(|X|^2 + e); 0 for the plain magnitude.",
    )
    magnitude_floor: float = Field(
        0.0,
        ge=0,
        le=1.0,
        allow_inf_nan=False,
        description="Magnitudes below this are raised to it before the filterbank (ESPnet).",
    )
    scale: Annotated[Scale, BeforeValidator(_scale_by_name)] = Field(
        description="Scale of the values: an object with a `kind`, or the kind's name alone: "
        + ", ".join(_SCALE_NAMES)
        + "."
    )
    mean: MeanValue | Annotated[tuple[MeanValue, ...], Field(max_length=1024)] = Field(
        0.0, description="Subtracted after the scale: one number, or one per band."
    )
    std: StdValue | Annotated[tuple[StdValue, ...], Field(max_length=1024)] = Field(
        1.0, description="Divides after the mean: one number, or one per band."
    )

    @model_validator(mode="before")
    @classmethod
    def _limit_members(cls, data: object) -> object:
        if isinstance(data, dict) and len(data) > _MAX_MEMBERS:
            raise ValueError(f"at most {_MAX_MEMBERS} members")
        return data

    @field_validator("filterbank")
    @classmethod
    def _check_sizes(
        cls, value: OwnFilterbank | None, info: ValidationInfo
    ) -> OwnFilterbank | None:
        if value is not None and {"n_mels", "n_fft"} <= set(info.data):
            want = info.data["n_mels"], info.data["n_fft"] // 2 + 1
            if value.values.shape != want:
                got = "x".join(map(str, value.values.shape))
                raise ValueError(f"[n_mels, n_fft/2 + 1] = {want[0]}x{want[1]}, not {got}")
        return value

    @field_validator(
        "fmin", "fmax", "mel_scale", "norm", "triangles", "filterbank_rate", mode="before"
    )
    @classmethod
    def _refuse_beside_filterbank(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("filterbank") is not None:
            raise ValueError("nothing beside a filterbank of one's own, which determines it")
        return value

    @model_validator(mode="after")
    def _check_consistency(self) -> MelConfig:
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} exceeds n_fft {self.n_fft}")
        if self.fmin >= self.fmax:
            raise ValueError(f"fmin {self.fmin} is not below fmax {self.fmax}")
        if self.fmin >= self.filterbank_rate / 2:
            raise ValueError(f"fmin {self.fmin} is at or above half the filterbank's rate")
        if self.padding == "hifigan" and self.hop_length > self.n_fft:
            raise ValueError(f"hop_length {self.hop_length} exceeds n_fft {self.n_fft}")
        if self.drop_last and self.padding == "hifigan":
            raise ValueError("drop_last needs a centred padding")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.n_mels:
                raise ValueError(f"{name} has {len(value)} values for {self.n_mels} bands")
        if self.overlap > MAX_OVERLAP:
            raise ValueError(
                f"hop_length {self.hop_length} is below win_length / {MAX_OVERLAP}: more frames "
                "share a sample than any known front-end has"
            )
        if self.least_envelope() < MIN_ENVELOPE:
            raise ValueError(
                f"win_length {self.win_length} and hop_length {self.hop_length} leave samples "
                "that no window covers and no method can reconstruct: take a hop of at most half "
                "the window"
            )
        return self

    # --- geometry -------------------------------------------------------------------------

    @property
    def overlap(self) -> int:
        """Frames that share a sample."""
        return -(-self.win_length // self.hop_length)

    @property
    def octaves(self) -> int:
        """Number of times that all lengths can be halved with the frames at the same instants.

        At most `MAX_OCTAVES`, and down to transforms of `MIN_FFT` points. There are none of a
        filterbank whose bands are not contiguous and rising.
        """
        if self.filterbank is not None and not self.filterbank.banded:
            return 0
        lengths = self.n_fft // 2, self.hop_length, self.win_length, self.lead
        even = min((n & -n).bit_length() - 1 if n else MAX_OCTAVES for n in lengths)
        small = (self.n_fft // MIN_FFT).bit_length() - 1
        return min(even if self.n_fft % 2 == 0 else 0, small, MAX_OCTAVES)

    def rows(self, frames: int, samples: int) -> int:
        """Rows of a pack that a clip takes, the gap behind its frames included.

        Parameters
        ----------
        frames
            Frames `T` of the clip.
        samples
            Samples `L` of the clip.
        """
        return max(frames + self.overlap - 1, -(-(self.lead + samples) // self.hop_length))

    @property
    def n_bins(self) -> int:
        """Bins `N` of the one-sided spectrum."""
        return self.n_fft // 2 + 1

    @property
    def pad(self) -> int:
        """Samples of padding before the first sample."""
        if self.padding == "hifigan":
            return (self.n_fft - self.hop_length) // 2
        return self.n_fft // 2

    @property
    def lead(self) -> int:
        """Samples between the start of the first frame's window and the first sample."""
        return self.pad - (self.n_fft - self.win_length) // 2

    def window_values(self) -> NDArray[np.float64]:
        """The analysis window `[win_length]`, read-only."""
        return _window(self.window, self.win_length)

    def squared_window(self) -> NDArray[np.float64]:
        """The squared window `[overlap, hop_length]`, zero beyond its end.

        Row `r` is the contribution of a frame to the envelope `r` hops after its beginning.
        """
        squared = np.zeros(self.overlap * self.hop_length)
        squared[: self.win_length] = self.window_values() ** 2
        return squared.reshape(self.overlap, self.hop_length)

    def envelope_floor(self) -> float:
        """The smallest divisor of a signal, a share of the envelope's mean in a long signal."""
        return float(MIN_ENVELOPE * self.squared_window().sum() / self.hop_length)

    def least_envelope(self) -> float:
        """The smallest sum of squared windows, as a share of its mean in a long signal.

        Over the samples that a clip of any number of frames keeps.
        """
        steps = self.squared_window()
        # The sum grows row by row over the first frames and falls likewise after the last of them.
        rising = steps.cumsum(axis=0)
        total = np.concatenate([rising, rising[-1] - rising[:-1]]).ravel()
        # A centred signal may be longer than (T - 1) hop; the divisor is floored in that tail.
        steps_kept = self.overlap - 1 + (self.padding == "hifigan")
        kept = total[max(self.lead, 0) : self.lead + max(steps_kept, 1) * self.hop_length]
        mean = steps.sum() / self.hop_length
        return float(kept.min() / mean) if self.lead >= 0 and kept.size and mean > 0 else 0.0

    def frames(self, samples: int) -> int:
        """Number of frames `T` that the extractor makes; 0 for too few samples.

        Parameters
        ----------
        samples
            Number of samples `L`.

        Examples
        --------
        A centred extractor makes a frame per hop and one more, HiFi-GAN's a frame per hop.

        >>> config = MelConfig(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, scale="ln")
        >>> config.frames(22050)
        87
        >>> config.model_copy(update={"padding": "hifigan"}).frames(22050)
        86
        """
        if samples < 1:
            return 0
        covered = samples + 2 * self.pad - self.n_fft
        count = covered // self.hop_length + 1 - self.drop_last
        return max(count, 0)

    def samples(self, frames: int) -> int:
        """Default number of samples `L` for a number of frames.

        Exact for HiFi-GAN's padding and for Whisper's dropped frame (`T * hop`). Centred frames
        fit `hop` different lengths; the default is the shortest, `(T - 1) * hop`, as in librosa
        and torch, and half a hop for a single frame.

        Parameters
        ----------
        frames
            Number of frames `T`.

        Examples
        --------
        >>> config = MelConfig(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, scale="ln")
        >>> config.samples(87), config.samples(1)
        (22016, 128)
        """
        if frames < 1:
            return 0
        lowest, highest = self.sample_range(frames)
        if self.padding != "hifigan" and not self.drop_last and frames == 1:
            return min(max(self.hop_length // 2, 1), highest)
        return lowest

    def sample_range(self, frames: int) -> tuple[int, int]:
        """Smallest and largest number of samples that give a number of frames.

        Parameters
        ----------
        frames
            Number of frames `T`.

        Examples
        --------
        >>> config = MelConfig(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, scale="ln")
        >>> config.sample_range(87)
        (22016, 22271)
        """
        lowest = (frames - 1 + self.drop_last) * self.hop_length + self.n_fft - 2 * self.pad
        return max(lowest, 1), max(lowest + self.hop_length - 1, 1)

    def length_for(self, frames: int, length: int | None) -> int:
        """Number of samples `L` to reconstruct, checked.

        Parameters
        ----------
        frames
            Number of frames `T`.
        length
            The length that a client asked for; None for `samples(frames)`.

        Raises
        ------
        Invalid
            If that many samples do not give `frames` frames.
        """
        lowest, highest = self.sample_range(frames)
        if length is None:
            return self.samples(frames)
        if not lowest <= length <= highest:
            raise Invalid(
                "length",
                str(length),
                f"{lowest} to {highest} samples for {frames} frames of this config",
            )
        return length

    @property
    def filterbank_bytes(self) -> int:
        """Bytes of the filterbank of one's own; 0 without one."""
        return 0 if self.filterbank is None else self.filterbank.nbytes

    @property
    def kind(self) -> Hashable:
        """Equal for equal configs, and small: a key for what may outlive a filterbank."""
        if self.filterbank is None:
            return self
        return self.model_copy(update={"filterbank": None}), self.filterbank.digest

    # --- levels ---------------------------------------------------------------------------

    @property
    def loudest_magnitude(self) -> float:
        """Magnitude of a full-scale constant, the largest in a bin for samples within +-1."""
        return float(self.window_values().sum())

    def compress(self, mel: Tensor) -> Tensor:
        """The extractor's values of a linear mel.

        Parameters
        ----------
        mel
            Linear mel `[T, K]` of the config's power.

        Returns
        -------
        Tensor
            Values `[T, K]` after the scale, mean and standard deviation.
        """
        values = self.scale.compress(mel, self.power)
        return (values - self._moment(self.mean, values)) / self._moment(self.std, values)

    def decompress(self, values: Tensor) -> Tensor:
        """The linear mel of the extractor's values, the inverse of `compress`.

        Parameters
        ----------
        values
            The extractor's values `[T, K]`.

        Returns
        -------
        Tensor
            Linear mel `[T, K]` of the config's power, at least zero.
        """
        plain = values * self._moment(self.std, values) + self._moment(self.mean, values)
        return self.scale.decompress(plain, self.power)

    @staticmethod
    def _moment(value: float | tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(value, dtype=like.dtype, device=like.device)
