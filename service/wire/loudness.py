"""Loudness of a mono clip as ITU-R BS.1770-4 measures it, gates included."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# The two stages of the K weighting as analogue prototypes, which give the standard's table of
# coefficients at 48 kHz and its curve at any other rate (B. De Man, "Evaluation of implementations
# of the EBU R128 loudness measurement", AES 2018).
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)

_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_OFFSET = -0.691
# Seconds after which the high pass has died away to nothing (its poles are at 38 Hz).
_TAIL_SECONDS = 0.25
_PIECE = 2**18


def loudness(wave: NDArray[np.float32], rate: int) -> float:
    """Integrated loudness of samples `[L]`, LUFS; -inf for what lies below the gate of -70.

    A clip shorter than a block of 400 ms is measured as one block.
    """
    sums = np.concatenate([[0.0], np.cumsum(_weighted(wave, rate) ** 2)])
    block = min(round(_BLOCK_SECONDS * rate), len(wave))
    starts = np.arange(0, len(wave) - block + 1, max(1, round(_STEP_SECONDS * rate)))
    power = (sums[starts + block] - sums[starts]) / block
    heard = power[_lufs(power) > _ABSOLUTE_GATE]
    if not heard.size:
        return -math.inf
    gate = float(_lufs(heard.mean())) + _RELATIVE_GATE
    return float(_lufs(heard[_lufs(heard) > gate].mean()))


def _lufs(power: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(_OFFSET + 10.0 * np.log10(np.maximum(power, 1e-30)))


def _weighted(wave: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Samples `[L]` through the K weighting, piece by piece with the tails added up."""
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
    """The shelf and the high pass as coefficients `(b, a)` of second order at a rate, Hz."""
    f, gain, q = _SHELF
    # A clip of a low rate holds nothing at the shelf's middle; the tangent must stay finite.
    k = math.tan(math.pi * min(f, 0.49 * rate) / rate)
    high = 10.0 ** (gain / 20.0)
    band = high**0.4996667741545416
    norm = 1.0 + k / q + k * k
    shelf_b = [high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k]
    shelf_a = [norm, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    f, q = _HIGH_PASS
    k = math.tan(math.pi * f / rate)
    pass_a = [1.0 + k / q + k * k, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    # The standard's second numerator is 1, -2, 1 over a denominator that begins with 1.
    return (
        (np.array(shelf_b) / norm, np.array(shelf_a) / norm),
        (np.array([1.0, -2.0, 1.0]), np.array(pass_a) / pass_a[0]),
    )
