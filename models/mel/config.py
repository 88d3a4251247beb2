"""MelConfig: the parameters of a mel extractor, validated, and hashable as a cache key."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from torch import Tensor

from unmel.models.errors import Invalid
from unmel.models.mel.members import Members, fault
from unmel.models.mel.own_filterbank import OwnFilterbank
from unmel.models.mel.scale import (
    CoquiScale,
    DecibelScale,
    LinearScale,
    LogScale,
    Scale,
    WhisperScale,
)
from unmel.models.mel.synonyms import CONFIG_SYNONYMS, KIND_SYNONYMS
from unmel.models.mel.window import Window, window_values

# A squared-window sum below this share of its mean amplifies noise when it divides the signal.
MIN_ENVELOPE = 1e-2
# Most frames that may share a sample: overlap-add takes a step for each.
MAX_OVERLAP = 64
MIN_FFT = 32
# Most octaves below the whole band that are run: the fourth is a sixteenth of the band, where
# speech has its pitch.
MAX_OCTAVES = 4

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
    kind = value.get("kind") if isinstance(value, dict) else value
    if isinstance(kind, str) and kind not in _SCALE_NAMES:
        said = KIND_SYNONYMS.get(kind.lower(), "one of " + ", ".join(_SCALE_NAMES))
        raise fault("" if kind is value else "kind", repr(kind[:40]), said)
    if kind is None and isinstance(value, dict):
        raise fault("kind", "nothing", "one of " + ", ".join(_SCALE_NAMES))
    if isinstance(value, str):
        return _SCALE_NAMES[value]
    if not isinstance(value, dict | Members):
        raise fault("", repr(value)[:40], "the name of a scale, or an object with its kind")
    return value


MeanValue = Annotated[float, Field(ge=-1e4, le=1e4, allow_inf_nan=False)]
StdValue = Annotated[float, Field(gt=1e-6, le=1e4, allow_inf_nan=False)]


class MelConfig(Members):
    """One mel extractor, frozen and hashable.

    All bounds are here; a field outside them raises pydantic's ValidationError.
    """

    synonyms: ClassVar[Mapping[str, str]] = CONFIG_SYNONYMS

    sample_rate: int = Field(ge=1000, le=384_000, description="Samples a second, Hz.")
    n_fft: int = Field(
        ge=MIN_FFT, le=16_384, description="Length of the Fourier transform, samples."
    )
    hop_length: int = Field(ge=1, le=16_384, description="Step between frames, samples.")
    win_length: int = Field(
        default_factory=lambda given: given["n_fft"],
        ge=2,
        le=16_384,
        description="Window length, samples; n_fft if not given.",
    )
    window_place: Literal["center", "start"] = Field(
        "center",
        description="Where a window that is shorter than n_fft stands: in the middle of a frame of "
        "n_fft samples (torch, librosa), or a frame is as long as its window and zeros follow it "
        "(Kaldi, tf.signal, python_speech_features, transformers' audio_utils.spectrogram).",
    )
    window: Window = Field(
        "hann",
        description="Periodic (torch's, tf.signal's and librosa's default) or symmetric (numpy's, "
        "Kaldi's, NeMo's) Hann, Hamming or Blackman window; Kaldi's povey, which is a symmetric "
        "Hann window to the power of 0.85; or none: rectangular.",
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
    triangles: Literal["hz", "mel", "bins"] = Field(
        "hz",
        description="Axis on which the bands are triangles: frequency (librosa, torchaudio), "
        "mels (Kaldi, tf.signal), or frequency with every corner lowered to a whole bin "
        "(python_speech_features).",
    )
    filterbank_rate: int = Field(
        default_factory=lambda given: given["sample_rate"],
        ge=1000,
        le=384_000,
        description="Rate the filterbank was built for, Hz; the sample rate if not given "
        "(StyleTTS 2 builds its own for 16,000 Hz and feeds it 24,000).",
    )
    power: float = Field(
        1.0,
        ge=0.5,
        le=2.0,
        allow_inf_nan=False,
        description="p, where the mel sums |X|^p: 1 for magnitudes, 2 for powers, or any number "
        "from 0.5 to 2.",
    )
    padding: Literal["center_reflect", "center_constant", "hifigan", "none"] = Field(
        "center_reflect",
        description="Frames centred on multiples of the hop with half a frame of reflection or "
        "zeros at both ends; HiFi-GAN's (n_fft - hop)/2 of reflection without centring; or none: "
        "the first frame begins at the first sample (center=False, Kaldi's snip_edges).",
    )
    drop_last: bool = Field(
        default=False, description="Whether the last centred frame is left out (Whisper)."
    )
    preemphasis: float = Field(
        0.0,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="a in x[n] - a x[n - 1], the filter before the frames; audio is filtered back, "
        "magnitudes and spectra are not.",
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

    # Samples at the whole rate for one of this config's: above 1 in octaves (see `halved`).
    _step: int = PrivateAttr(1)

    @field_validator("filterbank")
    @classmethod
    def _check_sizes(
        cls, value: OwnFilterbank | None, info: ValidationInfo
    ) -> OwnFilterbank | None:
        if value is not None and {"n_mels", "n_fft"} <= set(info.data):
            want = info.data["n_mels"], info.data["n_fft"] // 2 + 1
            if value.values.shape != want:
                got = "x".join(map(str, value.values.shape))
                sizes = f"[n_mels, n_fft/2 + 1], here {want[0]}x{want[1]}"
                raise fault("", f"an array {got}", sizes)
        return value

    @field_validator(
        "fmin", "fmax", "mel_scale", "norm", "triangles", "filterbank_rate", mode="before"
    )
    @classmethod
    def _refuse_beside_filterbank(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("filterbank") is not None:
            said = "nothing beside a filterbank of one's own, which determines it"
            raise fault("", repr(value)[:40], said)
        return value

    @model_validator(mode="after")
    def _check_consistency(self) -> MelConfig:
        if self.win_length > self.n_fft:
            raise fault("win_length", str(self.win_length), f"at most n_fft, {self.n_fft}")
        if self.fmin >= self.fmax:
            raise fault("fmin", f"{self.fmin:g}", f"less than fmax, {self.fmax:g}")
        if self.fmin >= self.filterbank_rate / 2:
            half = f"less than half the filterbank's rate, {self.filterbank_rate / 2:g}"
            raise fault("fmin", f"{self.fmin:g}", half)
        if self.padding == "hifigan" and self.hop_length > self.frame_length:
            most = f"at most the frame's {self.frame_length} samples"
            raise fault("hop_length", str(self.hop_length), most)
        if self.drop_last and not self.centred:
            raise fault("drop_last", "true", "false, or a centred padding")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.n_mels:
                want = f"one number, or {self.n_mels}: as many as n_mels"
                raise fault(name, f"{len(value)} values", want)
        if self.overlap > MAX_OVERLAP:
            least = -(-self.win_length // MAX_OVERLAP)
            want = f"at least {least}, win_length / {MAX_OVERLAP}: no known front-end has less"
            raise fault("hop_length", str(self.hop_length), want)
        if self.least_envelope() < MIN_ENVELOPE:
            raise fault(
                "hop_length",
                f"{self.hop_length}, which with a win_length of {self.win_length} leaves samples "
                "that no window covers and no method can reconstruct",
                "at most half the window",
            )
        if self.overlap < 2:
            want = f"less than win_length, {self.win_length}: frames must share samples"
            raise fault("hop_length", str(self.hop_length), want)
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

    def halved(self, n_mels: int) -> MelConfig:
        """The config at half the rate: frames at the same instants, the lower half of the bins.

        Its window has every second value of this one's, so that the bins are equal for a signal
        without an upper half (nearly so for a rectangular window, which has one itself). A
        filterbank of one's own is left out: its lower half is that of the plan.

        Parameters
        ----------
        n_mels
            Number of its bands.
        """
        names = "sample_rate", "n_fft", "hop_length", "win_length"
        halves = {name: getattr(self, name) // 2 for name in names}
        half = self.model_copy(update={**halves, "n_mels": n_mels, "filterbank": None})
        half._step = 2 * self._step
        return half

    def rows(self, frames: int, samples: int) -> int:
        """Rows of a pack that a clip takes, the gap behind its frames included.

        Parameters
        ----------
        frames
            Frames `T` of the clip.
        samples
            Samples `L` of the clip.
        """
        within = frames + self.overlap - 1
        if self.padding == "none":  # what the windows do not reach is zero, and takes no rows
            return within
        return max(within, -(-(self.lead + samples) // self.hop_length))

    @property
    def n_bins(self) -> int:
        """Bins `N` of the one-sided spectrum."""
        return self.n_fft // 2 + 1

    @property
    def centred(self) -> bool:
        """Whether frames are centred on multiples of the hop."""
        return self.padding in ("center_reflect", "center_constant")

    @property
    def reflects(self) -> bool:
        """Whether the padding repeats the signal."""
        return self.padding in ("center_reflect", "hifigan")

    @property
    def frame_length(self) -> int:
        """Samples of a frame: those of the transform, or of the window at its start."""
        return self.win_length if self.window_place == "start" else self.n_fft

    @property
    def pad(self) -> int:
        """Samples of padding before the first sample."""
        if self.padding == "none":
            return 0
        without = self.hop_length if self.padding == "hifigan" else 0
        return (self.frame_length - without) // 2

    @property
    def window_offset(self) -> int:
        """Samples of a frame before its window."""
        return (self.frame_length - self.win_length) // 2

    @property
    def lead(self) -> int:
        """Samples from the start of the first frame's window to the first sample.

        Negative without padding, where a window that is shorter than its frame begins later.
        """
        return self.pad - self.window_offset

    @property
    def first(self) -> int:
        """Samples from the start of the first frame's window to the first sample within it."""
        return max(self.lead, 0)

    @property
    def unreached(self) -> int:
        """Samples before the first frame's window, which are zero."""
        return max(-self.lead, 0)

    def window_values(self) -> NDArray[np.float64]:
        """The analysis window `[win_length]`, read-only."""
        return window_values(self.window, self.win_length, self._step)

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

        Over the samples that a clip of any number of frames keeps; without padding over those
        between its edges, at which every window fades.
        """
        steps = self.squared_window()
        mean = steps.sum() / self.hop_length
        if self.padding == "none":
            return float(steps.sum(axis=0).min() / mean) if mean > 0 else 0.0
        # The sum grows row by row over the first frames and falls likewise after the last of them.
        rising = steps.cumsum(axis=0)
        total = np.concatenate([rising, rising[-1] - rising[:-1]]).ravel()
        # A centred signal may be longer than (T - 1) hop; the divisor is floored in that tail.
        steps_kept = self.overlap - 1 + (self.padding == "hifigan")
        kept = total[self.first : self.lead + max(steps_kept, 1) * self.hop_length]
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
        covered = samples + 2 * self.pad - self.frame_length
        count = covered // self.hop_length + 1 - self.drop_last
        return max(count, 0)

    def samples(self, frames: int) -> int:
        """Default number of samples `L` for a number of frames.

        Exact for HiFi-GAN's padding and for Whisper's dropped frame (`T * hop`). Other frames fit
        `hop` different lengths; the default is the shortest: of centred ones `(T - 1) * hop`, as in
        librosa and torch, and half a hop for a single frame; without padding
        `(T - 1) * hop + frame_length`.

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
        if self.centred and not self.drop_last and frames == 1:
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
        lowest = (frames - 1 + self.drop_last) * self.hop_length + self.frame_length - 2 * self.pad
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
        """The largest magnitude in a bin for samples within +-1, before an emphasis +-(1 + a)."""
        return float((1.0 + self.preemphasis) * self.window_values().sum())

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
    def _moment(value: float | tuple[float, ...], like: Tensor) -> float | Tensor:
        return _on(value, like.dtype, like.device) if isinstance(value, tuple) else value


@lru_cache(maxsize=64)  # of a GPU too, where a copy of them would wait for the device
def _on(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Values of the bands on a device."""
    return torch.tensor(values, dtype=dtype, device=device)
