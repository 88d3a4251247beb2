"""Is this array a mel of that config? Shape, layout, finiteness and levels, before any work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.scale import LinearScale

Layout = Literal["auto", "bands_first", "frames_first"]

# Full scale is +-1, but some front-ends feed 16-bit integers as they are: allow those, twice.
_LOUDEST_SAMPLE = 2.0**16
# A linear mel may dip below zero by this share of its peak (a network's last layer does).
_NEGATIVE_SHARE = 1e-2
_LARGEST_LINEAR = 1e30


@dataclass(frozen=True)
class Checked:
    """Mel values that can be worked on, and what a caller should know about them."""

    values: NDArray[np.float32]
    """`[T, K]`, contiguous."""
    warnings: tuple[str, ...]


def check_mel(config: MelConfig, mel: NDArray[Any], layout: Layout = "auto") -> Checked:
    """Take `[K, T]`, `[1, K, T]` or, where it is not ambiguous, `[T, K]`; raise Invalid if not.

    `layout` says which axis holds the bands where the shape alone does not.
    """
    if mel.dtype.kind not in "fiu":
        raise Invalid("mel", f"an array of {mel.dtype}", "real numbers")
    values = _bands_last(config, mel, layout)
    with np.errstate(over="ignore"):  # what overflows is found by the next line
        values = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        t, k = np.argwhere(~np.isfinite(values))[0]
        raise Invalid("mel", f"{values[t, k]} in band {k}, frame {t}", "finite numbers")
    return Checked(values, _check_levels(config, values))


def check_phases(config: MelConfig, phases: NDArray[Any], frames: int) -> NDArray[np.float32]:
    """Take phases `[N, T]` for a mel of `frames` frames as `[T, N]`; raise Invalid if not."""
    want = f"finite real numbers [{config.n_bins}, {frames}], in radians"
    shape = "x".join(map(str, phases.shape)) or "a single number"
    if phases.dtype.kind not in "fiu" or phases.shape != (config.n_bins, frames):
        raise Invalid("phases", f"shape {shape} of {phases.dtype}", want)
    if not np.isfinite(phases).all():
        raise Invalid("phases", "values that are not finite", want)
    # What a client has unwrapped may be thousands of turns, whose fraction float32 would lose.
    turned = np.remainder(phases.T.astype(np.float64), 2.0 * np.pi)
    return np.ascontiguousarray(turned, dtype=np.float32)


def _bands_last(config: MelConfig, mel: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """The `[T, K]` view of `mel`."""
    shape = "x".join(map(str, mel.shape)) or "a single number"
    want = f"[{config.n_mels}, frames] (bands first) for this config"
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2:
        raise Invalid("mel", f"shape {shape}", want)
    bands_first = mel.shape[0] == config.n_mels
    frames_first = mel.shape[1] == config.n_mels
    if layout == "frames_first" or (layout == "auto" and frames_first and not bands_first):
        bands_first, mel = frames_first, mel.T
        want = f"[frames, {config.n_mels}] (frames first) for this config"
    if not bands_first:
        raise Invalid("mel", f"shape {shape}", want)
    if mel.shape[1] == 0:
        raise Invalid("mel", f"shape {shape}, no frames", "at least one frame")
    return mel.T


def _check_levels(config: MelConfig, values: NDArray[np.float32]) -> tuple[str, ...]:
    """Refuse values that no audio gives in this config; warn of those that hardly any does."""
    low, high = float(values.min()), float(values.max())
    span = f"values from {low:.4g} to {high:.4g}"
    if isinstance(config.scale, LinearScale) and config.mean == 0.0 and low < 0:
        if low < -_NEGATIVE_SHARE * max(high, 0.0):
            raise Invalid("mel", span, "no negative values: this config's scale is linear")
        return ("small negative values were taken as 0: this config's scale is linear",)
    if isinstance(config.scale, LinearScale):
        # Samples may be scaled by anything; this much is beyond what float32 can carry through.
        if high > _LARGEST_LINEAR:
            raise Invalid("mel", span, f"at most {_LARGEST_LINEAR:g}")
        return ()
    return _judge(config, values, span)


class _Limits(NamedTuple):
    """How levels are written in a config, each `[K]`; not to be altered."""

    floor: NDArray[np.float64]
    """Silence."""
    full: NDArray[np.float64]
    """Full scale."""
    most: NDArray[np.float64]
    """More than any front-end's samples."""
    reach: NDArray[np.float64]
    """From silence to full scale."""


@lru_cache(maxsize=1024)  # a stream asks for every frame
def _limits(config: MelConfig) -> _Limits:
    loudest = config.loudest_magnitude**config.power * heaviest_band(config)
    floor, full = _stored(config, 0.0), _stored(config, loudest)
    most = _stored(config, loudest * _LOUDEST_SAMPLE**config.power)
    # A clip level above full scale makes the two one; anything below a unit's reach is moot.
    return _Limits(floor, full, most, np.maximum(full - floor, 1.0 / np.asarray(config.std)))


def _stored(config: MelConfig, level: float) -> NDArray[np.float64]:
    """How a frame of the linear mel `level` in every band is written `[K]`."""
    # One frame at a time: some scales clamp relative to the loudest value of what they are given.
    frame = torch.full((1, config.n_mels), level, dtype=torch.float64)
    stored: NDArray[np.float64] = config.compress(frame)[0].numpy()
    return stored


def _judge(config: MelConfig, values: NDArray[np.float32], span: str) -> tuple[str, ...]:
    """Hold `[T, K]` values against the stored forms of silence, full scale and the impossible."""
    kind = config.scale.kind
    floor, full, most, reach = _limits(config)
    top, bottom = values.max(axis=0), values.min(axis=0)
    if (top > np.maximum(most, full + 0.5 * reach)).any():
        raise Invalid(
            "mel",
            span,
            f"at most {full.max():.4g} for audio at full scale: the values are not of the scale "
            f"{kind!r} (linear or differently normalised values sent as {kind!r}?)",
        )
    if (bottom < floor - reach).any():
        raise Invalid(
            "mel",
            span,
            f"at least {floor.min():.4g}, which silence gives: the values are not of the scale "
            f"{kind!r} (another logarithm, or other mean and std?)",
        )
    warnings = []
    if (top > full + 0.05 * reach).any():
        warnings.append(
            f"{span}, above what full-scale audio gives in this config ({full.max():.4g})"
        )
    if bottom.min() >= 0 and (floor + 0.25 * reach < 0).all() and values.size > 1:
        warnings.append(
            f"{span}: none is negative, as if linear values were sent to the scale {kind!r}"
        )
    return tuple(warnings)


@lru_cache(maxsize=1024)
def heaviest_band(config: MelConfig) -> float:
    """The most that a flat spectrum of ones gives in any band, `max_k sum_n F[k, n]`."""
    return max(float(filterbank(config).sum(axis=1).max()), 1e-12)
