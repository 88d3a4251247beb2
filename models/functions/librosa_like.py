"""`mel_to_audio`: librosa's function of that name, by Unmel's method."""

from __future__ import annotations

import warnings
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unmel.models.engine import shared
from unmel.models.errors import Invalid
from unmel.models.functions.invert_mels import compute, recipe_of
from unmel.models.mel import MelConfig
from unmel.models.methods import DEFAULT_QUALITY

# librosa's names are scipy's, whose windows are periodic there.
_WINDOWS = {
    **dict.fromkeys(("hann", "hanning", "han"), "hann"),
    **dict.fromkeys(("hamming", "hamm", "ham"), "hamming"),
    **dict.fromkeys(("blackman", "black", "blk"), "blackman"),
    **dict.fromkeys(("boxcar", "box", "ones", "rect", "rectangular"), "rectangular"),
}
_PADDINGS = {"constant": "center_constant", "reflect": "center_reflect"}


class Bands(TypedDict, total=False):
    """Options of `librosa.filters.mel`."""

    fmin: float
    fmax: float | None
    htk: bool
    norm: Literal["slaney"] | None


def mel_to_audio(
    M: NDArray[Any],  # noqa: N803 - librosa's name
    *,
    sr: int = 22050,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: str = "hann",
    center: bool = True,
    pad_mode: str = "constant",
    power: float = 2.0,
    n_iter: int | None = None,
    length: int | None = None,
    dtype: DTypeLike = np.float32,
    **kwargs: Unpack[Bands],
) -> NDArray[Any]:
    """Turn a mel of librosa's into audio, called as `librosa.feature.inverse.mel_to_audio`.

    Parameters
    ----------
    M
        Linear mel `[..., K, T]` of `librosa.feature.melspectrogram`.
    sr
        Sample rate, Hz.
    n_fft
        Length of the Fourier transform, samples.
    hop_length
        Step between frames, samples; a quarter of the window if not given.
    win_length
        Window length, samples; `n_fft` if not given.
    window
        Name of a window: `hann`, `hamming`, `blackman` or `boxcar`.
    center
        Whether frames are centred on multiples of the hop.
    pad_mode
        What pads centred frames: `constant` or `reflect`.
    power
        Power of the mel: 1 for magnitudes, 2 for powers, or any number from 0.5 to 2.
    n_iter
        Iterations. Not given they are those of the quality `standard`; librosa's 32 take two
        fifths of its time.
    length
        Samples of the result, which is cut or continued by zeros.
    dtype
        Type of the result.
    **kwargs
        `fmin`, `fmax`, `htk` and `norm` of `librosa.filters.mel`.

    Returns
    -------
    NDArray
        Samples `[..., L]`, full scale at 1.

    Raises
    ------
    Invalid
        The mel is none of these options, or one of them is not known here.
    pydantic.ValidationError
        Options that do not fit each other.

    Examples
    --------
    >>> mel_to_audio(np.zeros((128, 44)), n_iter=4).shape
    (22016,)
    """
    values = np.asarray(M)
    if values.ndim < 2:
        shape = "x".join(map(str, values.shape)) or "a single number"
        raise Invalid("M", f"shape {shape}", "[..., bands, frames]")
    win_length = n_fft if win_length is None else win_length
    config = MelConfig.model_validate(
        {
            "sample_rate": sr,
            "n_fft": n_fft,
            "hop_length": win_length // 4 if hop_length is None else hop_length,
            "win_length": win_length,
            "window": _known("window", window, _WINDOWS),
            "padding": _known("pad_mode", pad_mode, _PADDINGS) if center else "none",
            "n_mels": values.shape[-2],
            "power": power,
            "scale": "linear",
            **_bands(**kwargs),
        }
    )
    mels = list(values.reshape(-1, *values.shape[-2:]))
    frames = values.shape[-1]
    made, noted = compute(
        shared("cpu"),
        mels,
        config,
        recipe_of(config, DEFAULT_QUALITY, {"n_iter": n_iter}),
        seed=0,
        lengths=[_fitting(config, frames, length)] * len(mels),
        layout="bands_first",
        numbered=len(mels) > 1,
    )
    for text in noted:
        warnings.warn(text, stacklevel=2)
    samples = config.samples(frames) if length is None else length
    out = np.zeros((len(mels), samples), dtype)
    for row, wave in zip(out, made, strict=True):
        row[: len(wave)] = wave[:samples]
    return out.reshape(*values.shape[:-2], samples)


def _known(name: str, value: object, table: dict[str, str]) -> str:
    if not isinstance(value, str) or value not in table:
        raise Invalid(name, repr(value)[:80], "one of " + ", ".join(table))
    return table[value]


def _bands(
    *,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: Literal["slaney"] | None = "slaney",
) -> dict[str, object]:
    """The members of a config for options of `librosa.filters.mel`."""
    if norm not in ("slaney", None):
        raise Invalid("norm", repr(norm)[:80], "'slaney' or None")
    scale = "htk" if htk else "slaney"
    return {"fmin": fmin, "fmax": fmax, "mel_scale": scale, "norm": norm}


def _fitting(config: MelConfig, frames: int, length: int | None) -> int | None:
    """The length nearest to the wanted one that has as many frames."""
    if length is None or frames < 1:
        return None
    lowest, highest = config.sample_range(frames)
    return min(max(length, lowest), highest)
