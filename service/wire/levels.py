"""Levels of mono audio: loudness by ITU-R BS.1770-4, normalisation, gain, peaks, sample rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from unmel.service.wire.limiter import limit

RESAMPLER = "VHQ"
"""Quality of soxr."""
PEAK_LEVEL = -1.0
"""Level of the loudest sample after `peak`, dB of full scale."""
LOUDNESS_LEVEL = -23.0
"""Level of a clip after `loudness`, LUFS: the programme level of EBU R 128."""
MAX_LIMITED = 12.0
"""Highest peak that is limited, dB above full scale; a clip with a higher one is scaled."""

# The two stages of the K weighting as analogue prototypes: they give the standard's coefficients
# at 48 kHz, and its curve at any other rate (see `sections`).
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)

_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_OFFSET = -0.691
# Decay time of the high pass, whose poles are at 38 Hz, seconds.
_TAIL_SECONDS = 0.25
_PIECE = 2**18


def loudness(wave: NDArray[np.float32], rate: int) -> float:
    """Measure the integrated loudness of a clip.

    Parameters
    ----------
    wave
        Samples `[L]`, full scale at 1. A clip shorter than 400 ms is measured as one block.
    rate
        Sample rate, Hz.

    Returns
    -------
    LUFS; -inf below the absolute gate of -70.

    References
    ----------
    ITU-R BS.1770-4, annex 1.

    """
    sums = np.concatenate([[0.0], np.cumsum(_weighted(wave, rate) ** 2)])
    block = min(round(_BLOCK_SECONDS * rate), len(wave))
    starts = np.arange(0, len(wave) - block + 1, max(1, round(_STEP_SECONDS * rate)))
    power = (sums[starts + block] - sums[starts]) / block
    gated = power[_lufs(power) > _ABSOLUTE_GATE]
    if not gated.size:
        return -math.inf
    gate = float(_lufs(gated.mean())) + _RELATIVE_GATE
    return float(_lufs(gated[_lufs(gated) > gate].mean()))


def _lufs(power: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(_OFFSET + 10.0 * np.log10(np.maximum(power, 1e-30)))


def _weighted(wave: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Samples `[L]` after the K weighting, by overlap-add of pieces."""
    tail = math.ceil(_TAIL_SECONDS * rate)
    size = 1 << (min(_PIECE, len(wave)) + tail - 1).bit_length()
    step = size - tail
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones_like(z)
    for b, a in sections(rate):
        response *= np.polyval(b[::-1], z) / np.polyval(a[::-1], z)
    out = np.zeros(len(wave) + size)
    for start in range(0, len(wave), step):
        piece = np.fft.rfft(wave[start : start + step].astype(np.float64), size)
        out[start : start + size] += np.fft.irfft(piece * response, size)
    return out[: len(wave)]


def sections(rate: int) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Coefficients of the K weighting's two filters.

    Parameters
    ----------
    rate
        Sample rate, Hz.

    Returns
    -------
    Shelf and high pass, each as `(b, a)` of second order.

    References
    ----------
    B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 2018.

    """
    f, gain, q = _SHELF
    # At low rates the shelf's middle lies above Nyquist; the tangent must stay finite.
    k = math.tan(math.pi * min(f, 0.49 * rate) / rate)
    high = 10.0 ** (gain / 20.0)
    band = high**0.4996667741545416
    norm = 1.0 + k / q + k * k
    shelf_b = [high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k]
    shelf_a = [norm, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    f, q = _HIGH_PASS
    k = math.tan(math.pi * f / rate)
    pass_a = [1.0 + k / q + k * k, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    # The standard's second numerator is 1, -2, 1 with a denominator that begins with 1.
    return (
        (np.array(shelf_b) / norm, np.array(shelf_a) / norm),
        (np.array([1.0, -2.0, 1.0]), np.array(pass_a) / pass_a[0]),
    )


@dataclass(frozen=True)
class LevelOptions:
    """Processing of samples before they are encoded."""

    normalize: str = "none"
    """`none`, `peak` or `loudness`."""
    gain: float = 0.0
    """Gain after normalisation, dB."""
    sample_rate: int | None = None
    """Rate of the result, Hz; None keeps the rate of the samples."""
    peak: str | None = None
    """`limit`, `scale` or `clip`; None limits in bounded formats only."""


UNCHANGED = LevelOptions()


@dataclass(frozen=True, eq=False)
class LevelledAudio:
    """Samples ready to be encoded."""

    samples: NDArray[np.float32]
    """`[L]`."""
    sample_rate: int
    gain: float
    """Factor that was applied to all samples."""
    warnings: tuple[str, ...] = ()


def peak_warning(peak: float, done: str) -> str:
    """Say what the peak was, and what was done about it.

    Parameters
    ----------
    peak
        Largest magnitude before, full scale at 1.
    done
        Past participle.

    """
    return f"peak {peak:.4g} ({20.0 * math.log10(peak):+.1f} dB) above full scale: {done}"


def apply_levels(
    wave: NDArray[np.float32], rate: int, options: LevelOptions, *, bounded: bool
) -> LevelledAudio:
    """Resample, normalise and amplify a clip, and keep it within full scale.

    Silence is never scaled.

    Parameters
    ----------
    wave
        Samples `[L]`, full scale at 1.
    rate
        Sample rate of `wave`, Hz.
    options
        Requested processing.
    bounded
        Whether the format clips samples beyond full scale; one that does not keeps them unless
        `options` say what becomes of them.

    """
    out = options.sample_rate or rate
    if out != rate:
        resampled = soxr.resample(wave, rate, out, quality=RESAMPLER)
        wave = np.asarray(resampled if resampled.size else wave[:1], np.float32)
    peak = float(max(wave.max(initial=0.0), -wave.min(initial=0.0)))
    if peak == 0.0:
        return LevelledAudio(wave, out, 1.0)
    decibels = options.gain
    if options.normalize == "peak":
        decibels += PEAK_LEVEL - 20.0 * float(np.log10(peak))
    elif options.normalize == "loudness":
        level = loudness(wave, out)
        decibels += LOUDNESS_LEVEL - level if np.isfinite(level) else 0.0
    gain = float(10.0 ** (decibels / 20.0)) if decibels else 1.0
    high = gain * peak
    how = options.peak or ("limit" if bounded else None)
    if how is None or high <= 1.0:
        return LevelledAudio(_amplified(wave, gain), out, gain)
    if how == "limit" and high <= 10.0 ** (MAX_LIMITED / 20.0):
        limited = limit(_amplified(wave, gain), out)
        return LevelledAudio(limited, out, gain, (peak_warning(high, "limited"),))
    if how == "clip":
        clipped = np.clip(wave.astype(np.float64) * gain, -1.0, 1.0).astype(np.float32)
        return LevelledAudio(clipped, out, gain, (peak_warning(high, "clipped"),))
    scaled = _amplified(wave, 1.0 / peak)
    return LevelledAudio(scaled, out, 1.0 / peak, (peak_warning(high, "scaled as a whole"),))


def _amplified(wave: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    if gain == 1.0:
        return wave
    # In double precision: near silence the gain may exceed 1e38.
    return (wave.astype(np.float64) * gain).astype(np.float32)
