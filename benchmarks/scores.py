"""Scores of audio against the original: PESQ, extended STOI, spectral and mel distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import librosa
import numpy as np
import soxr
from numpy.typing import NDArray

from benchmarks.peers import Wave

# Levels this far below a clip's loudest bin are inaudible and count as equal.
_RANGE_DB = 80.0


class Score(NamedTuple):
    """Scores of one result, or means of several."""

    pesq: float
    """PESQ wide-band (P.862.2) at 16 kHz, 1 to 4.64."""
    estoi: float
    """Extended short-time objective intelligibility, up to 1."""
    spectral: float
    """Log-spectral distance, dB: per frame the root mean square over bins, then the mean."""
    mel: float
    """Mean absolute difference of 80-band log mels, dB."""


def _levels(power: NDArray[np.float32], loudest: float) -> NDArray[np.float32]:
    floor = np.float32(loudest * 10.0 ** (-_RANGE_DB / 10.0))
    return np.asarray(10.0 * np.log10(np.maximum(power, floor)), np.float32)


def score(original: Wave, result: Wave, rate: int) -> Score:
    """Scores of `result` against `original`, samples at `rate`."""
    # The tests of the tables have neither package.
    from pesq import pesq  # noqa: PLC0415
    from pystoi import stoi  # noqa: PLC0415

    n = min(len(original), len(result))
    pair = original[:n], result[:n]
    a, b = (soxr.resample(x, rate, 16000, quality="VHQ") for x in pair)
    spectra = [np.abs(librosa.stft(x, n_fft=1024, hop_length=256)) ** 2 for x in pair]
    mels = [librosa.feature.melspectrogram(S=s, sr=rate, n_mels=80) for s in spectra]
    bins, bands = (
        np.abs(np.subtract(*(_levels(x, float(pair_[0].max())) for x in pair_)))
        for pair_ in (spectra, mels)
    )
    return Score(
        float(pesq(16000, a, b, "wb")),
        float(stoi(*pair, rate, extended=True)),
        float(np.sqrt((bins**2).mean(axis=0)).mean()),
        float(bands.mean()),
    )


def mean(scores: Sequence[Score]) -> Score:
    """Means of scores."""
    return Score(*(float(np.mean(column)) for column in zip(*scores, strict=True)))
