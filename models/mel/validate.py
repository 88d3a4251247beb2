"""Checks of a client's arrays against a config: shape, layout, finiteness and levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.layout import Layout, likelier_layout
from unmel.models.mel.scale import LinearScale
from unmel.models.mel.statistics import full_scale_level

# Full scale is +-1, but some front-ends take 16-bit integers unscaled: twice their range passes.
_MAX_SAMPLE = 2.0**16
# A linear mel may be negative by this share of its peak, as a network's output can be.
_NEGATIVE_SHARE = 1e-2
# Quiet cells of a linear mel are below this share of its peak.
_LEAST_SHARE = 2e-3
# Above this float32 overflows in a reconstruction, whose samples are of the level's root.
_MAX_LINEAR = 1e30


@dataclass(frozen=True)
class Checked:
    """Accepted mel values, and warnings for the client."""

    values: NDArray[np.float32]
    """Values `[T, K]`, contiguous."""
    warnings: tuple[str, ...]


def check_mel(config: MelConfig, mel: NDArray[Any], layout: Layout = "auto") -> Checked:
    """Check a mel and bring it to frames first.

    Parameters
    ----------
    config
        The mel's config.
    mel
        Values `[K, T]` or, where the shape is not ambiguous, `[T, K]`, among any number of further
        axes of size 1. Minus infinity is silence on a logarithmic scale: it is the logarithm of 0.
    layout
        The axis of the bands, for a shape that is ambiguous.

    Returns
    -------
    Checked
        The values `[T, K]` and warnings.

    Raises
    ------
    Invalid
        For another shape or type, values that are not finite, and values that no audio has in
        this config.
    """
    if mel.dtype.kind not in "fiu":
        raise Invalid("mel", f"an array of {mel.dtype}", "real numbers")
    given, notes = _bands_last(config, mel, layout)
    # An overflow becomes an infinity, which is refused below.
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(given, dtype=np.float32)
        low, high = _span(values)
    if not (math.isfinite(low) and math.isfinite(high)):
        if not isinstance(config.scale, LinearScale) and np.isneginf(values).any():
            silence = _limits_of(config).silence.astype(np.float32)
            values = np.where(np.isneginf(given), silence, values)
        if not np.isfinite(values).all():
            t, k = np.argwhere(~np.isfinite(values))[0]
            raise Invalid("mel", f"{values[t, k]} in band {k}, frame {t}", "finite numbers")
        low, high = _span(values)
    return Checked(values, notes + _check_levels(config, values, low, high))


def _span(values: NDArray[np.float32]) -> tuple[float, float]:
    """The least and the greatest value; both are NaN where one of all is."""
    return float(values.min()), float(values.max())


def check_phases(config: MelConfig, phases: NDArray[Any], frames: int) -> NDArray[np.float32]:
    """Check first phases and bring them to frames first.

    Parameters
    ----------
    config
        The mel's config.
    phases
        Phases `[N, T]`, radians.
    frames
        Frames `T` of the mel.

    Returns
    -------
    NDArray[np.float32]
        Phases `[T, N]` in 0 to 2 pi.

    Raises
    ------
    Invalid
        For another shape or type, and for values that are not finite.
    """
    want = f"finite real numbers [{config.n_bins}, {frames}], in radians"
    shape = "x".join(map(str, phases.shape)) or "a single number"
    if phases.ndim > 2 and _sizes(phases.shape) == _sizes((config.n_bins, frames)):
        phases = phases.reshape(config.n_bins, frames)
    if phases.dtype.kind not in "fiu" or phases.shape != (config.n_bins, frames):
        raise Invalid("phases", f"shape {shape} of {phases.dtype}", want)
    if not np.isfinite(phases).all():
        raise Invalid("phases", "values that are not finite", want)
    # Unwrapped phases may be thousands of turns, whose fraction float32 would lose.
    wrapped = np.remainder(phases.T.astype(np.float64), 2.0 * np.pi)
    return np.ascontiguousarray(wrapped, dtype=np.float32)


def _bands_last(
    config: MelConfig, mel: NDArray[Any], layout: Layout
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The `[T, K]` view of `mel`, and a warning where its shape does not tell the axes."""
    shape = "x".join(map(str, mel.shape)) or "a single number"
    want = f"[{config.n_mels}, frames] (bands first) for this config"
    notes: tuple[str, ...] = ()
    mel = _two_axes(config, mel, layout)
    if mel.ndim != 2:
        raise Invalid("mel", f"shape {shape}", want)
    bands_first = mel.shape[0] == config.n_mels
    frames_first = mel.shape[1] == config.n_mels
    if layout == "auto" and bands_first and frames_first and config.n_mels > 1:
        likelier = likelier_layout(config, mel)
        layout = likelier or "bands_first"
        reason = "looks likelier" if likelier else "is the default"
        notes = (
            f"shape {shape} fits both layouts: {layout} was taken, which {reason}; the option "
            "layout=bands_first or layout=frames_first decides",
        )
    if layout == "frames_first" or (layout == "auto" and frames_first and not bands_first):
        bands_first, mel = frames_first, mel.T
        want = f"[frames, {config.n_mels}] (frames first) for this config"
    if not bands_first:
        raise Invalid("mel", f"shape {shape}", want)
    if mel.shape[1] == 0:
        raise Invalid("mel", f"shape {shape}, no frames", "at least one frame")
    return mel.T, notes


def _two_axes(config: MelConfig, mel: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """The mel without axes of size 1 beyond its two; the mel itself where it has more than two."""
    sizes = _sizes(mel.shape)
    if mel.ndim < 3 or len(sizes) > 2:
        return mel
    if len(sizes) < 2:  # one frame or one band, in a shape that no longer shows which
        size = sizes[0] if sizes else 1
        shape = (size, 1) if size == config.n_mels else (1, size)
        return mel.reshape(shape[::-1] if layout == "frames_first" else shape)
    return mel.reshape(sizes)


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of a shape that are not 1."""
    return tuple(size for size in shape if size != 1)


def _check_levels(
    config: MelConfig, values: NDArray[np.float32], low: float, high: float
) -> tuple[str, ...]:
    """Warnings for unlikely values `[T, K]` of a span; Invalid for values that no audio has."""
    span = _words(low, high)
    if isinstance(config.scale, LinearScale) and config.mean == 0.0 and low < 0:
        if low < -_NEGATIVE_SHARE * max(high, 0.0):
            raise Invalid("mel", span, "no negative values: this config's scale is linear")
        return ("small negative values were taken as 0: this config's scale is linear",)
    if isinstance(config.scale, LinearScale):
        most = _MAX_LINEAR ** min(config.power, 1.0)
        if high > most:
            raise Invalid("mel", span, f"at most {most:g}")
        return ()
    return _compare_levels(config, values, low, high)


class _Limits(NamedTuple):
    """A config's stored values `[K]` of some levels; not to be altered."""

    silence: NDArray[np.float64]
    full_scale: NDArray[np.float64]
    maximum: NDArray[np.float64]
    """The largest that is accepted."""
    dynamic_range: NDArray[np.float64]
    """From silence to full scale."""


def _limits_of(config: MelConfig) -> _Limits:
    if config.filterbank is None:
        return _limits(config)
    # Kept without the filterbank, of which a thousand would be gigabytes.
    level = full_scale_level(config)
    return _limits(config.model_copy(update={"filterbank": None}), level)


@lru_cache(maxsize=1024)  # a stream needs it for every frame
def _limits(config: MelConfig, level: float | None = None) -> _Limits:
    level = full_scale_level(config) if level is None else level
    silence, full = _stored(config, 0.0), _stored(config, level)
    maximum = _stored(config, level * _MAX_SAMPLE**config.power)
    # Where the scale clamps above full scale the two are equal: the range is one unit at least.
    return _Limits(silence, full, maximum, np.maximum(full - silence, 1.0 / np.asarray(config.std)))


def _stored(config: MelConfig, level: float) -> NDArray[np.float64]:
    """The stored values `[K]` of a frame with the linear mel `level` in every band."""
    # One frame at a time: some scales clamp relative to the loudest value of their input.
    frame = torch.full((1, config.n_mels), level, dtype=torch.float64)
    stored: NDArray[np.float64] = config.compress(frame)[0].numpy()
    return stored


def _compare_levels(
    config: MelConfig, values: NDArray[np.float32], low: float, high: float
) -> tuple[str, ...]:
    """Compare values `[T, K]` of a span with those of silence and full scale."""
    kind, span = config.scale.kind, _words(low, high)
    silence, full, maximum, dynamic_range = _limits_of(config)

    def exceed(most: NDArray[np.float64]) -> bool:
        # Each band's own values are asked for only where the span decides nothing.
        return high > most.min() and bool((values.max(axis=0) > most).any())

    if exceed(np.maximum(maximum, full + 0.5 * dynamic_range)):
        raise Invalid(
            "mel",
            span,
            f"at most {full.max():.4g} for audio at full scale: the values are not of the scale "
            f"{kind!r} (linear or differently normalised values sent as {kind!r}?)",
        )
    least = silence - dynamic_range
    if low < least.max() and (values.min(axis=0) < least).any():
        raise Invalid(
            "mel",
            span,
            f"at least {silence.min():.4g}, the value of silence: the values are not of the scale "
            f"{kind!r} (another logarithm, or other mean and std?)",
        )
    if exceed(full + 0.05 * dynamic_range):
        return (f"{span}, above full-scale audio in this config ({full.max():.4g})",)
    return ()


def _words(low: float, high: float) -> str:
    return f"values from {low:.4g} to {high:.4g}"


def none_negative(config: MelConfig, values: NDArray[np.float32]) -> bool:
    """Whether values begin at zero where those of quiet frames are negative: as linear ones do.

    Parameters
    ----------
    config
        The mel's config.
    values
        Stored values `[T, K]`.
    """
    if isinstance(config.scale, LinearScale) or values.size < 2:
        return False
    if not 0 <= values.min() <= _LEAST_SHARE * values.max():
        return False
    silence, _, _, dynamic_range = _limits(config)
    return bool((silence + 0.25 * dynamic_range < 0).all())
