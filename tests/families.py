"""One preset of each kind of config: the others differ from one of these in values alone."""

from __future__ import annotations

FAMILIES = [
    "hifigan-22k",  # magnitudes, padded by (n_fft - hop) / 2, an epsilon
    "tacotron2-22k",  # centred
    "vocos-24k",  # HTK bands without a norm
    "cosyvoice2-24k",  # a transform that is no power of two
    "pwg-24k",  # a window shorter than the transform, hops that do not divide it
    "whisper-80",  # powers, 16 kHz, a floor below the loudest
    "torchaudio",  # no logarithm, empty bands
    "librosa",  # padded with zeros
]
