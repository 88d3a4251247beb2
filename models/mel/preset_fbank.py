"""Presets of front-ends that frame without padding: Kaldi's fbank and its kin, tf.signal."""

from __future__ import annotations

import math
from typing import Any

from unmel.models.mel.preset_row import Preset, ln, mel_config

# Kaldi's floor is float's epsilon, python_speech_features' that of double.
_EPSILON, _DOUBLE_EPSILON = 2.0**-23, 2.0**-52
# A front-end that reads samples as 16-bit integers has powers that are 2^30 times as large.
_INT16_LN = 30 * math.log(2)
_INT16: dict[str, Any] = {"scale": ln(_EPSILON / 2**30), "mean": -_INT16_LN}
_UNIT: dict[str, Any] = {"scale": ln(_EPSILON)}

_KALDI: dict[str, Any] = {
    "win_length": 400,
    "window_place": "start",
    "window": "povey",
    "padding": "none",
    "preemphasis": 0.97,
    "fmin": 20,
    "mel_scale": "htk",
    "norm": None,
    "triangles": "mel",
    "power": 2,
}
_KALDI_SOURCE = "kaldi-asr/kaldi src/feat/feature-window.h, feature-fbank.h, mel-computations.h"
_NO_DC = "the mean that it takes from each frame is left in, which changes bands below 100 Hz alone"
_16_BIT = "samples within +-1 are times 2^15 first, as its own are; of unscaled ones `mean` is 0"

FBANK = (
    Preset(
        "kaldi-16k",
        "Kaldi fbank defaults",
        _KALDI_SOURCE,
        mel_config(16000, 512, 160, 23, **_KALDI, **_INT16),
        note=f"{_16_BIT}; {_NO_DC}; drop an energy column first",
    ),
    Preset(
        "kaldi-80-16k",
        "Kaldi fbank, 80 bands",
        _KALDI_SOURCE,
        mel_config(16000, 512, 160, 80, **_KALDI, **_INT16),
        note=f"{_16_BIT}; {_NO_DC}; after CMVN give its moments: `mean`, plus this "
        "preset's, and `std`",
    ),
    Preset(
        "torchaudio-kaldi-16k",
        "torchaudio.compliance.kaldi fbank defaults",
        "pytorch/audio src/torchaudio/compliance/kaldi.py",
        mel_config(16000, 512, 160, 23, **_KALDI, **_UNIT),
        note=f"samples within +-1, as torchaudio loads them; {_NO_DC}",
    ),
    Preset(
        "seamless-16k",
        "Seamless M4T, w2v-BERT 2.0",
        "huggingface/transformers feature_extraction_seamless_m4t.py",
        mel_config(16000, 512, 160, 80, **_KALDI, **_INT16),
        note="extract with do_normalize_per_mel_bins=False, or give the clip's moments per "
        "band (`mean`, plus this preset's, and `std`), which it does not return and without which "
        f"level and colour are lost; reshape its [T/2, 160] to [T, 80] first; {_NO_DC}",
    ),
    Preset(
        "ast-16k",
        "Audio Spectrogram Transformer",
        "huggingface/transformers feature_extraction_audio_spectrogram_transformer.py",
        mel_config(
            16000,
            512,
            160,
            128,
            mean=-4.2677393,
            std=2 * 4.5689974,
            **(_KALDI | {"window": "hann_symmetric"}),
            **_UNIT,
        ),
        note="cut off the frames that fill up to max_length: they are 0.467 in every band, which "
        f"is noise; other moments than AudioSet's are `mean` and twice the deviation; {_NO_DC}",
    ),
    Preset(
        "tf-16k",
        "tf.signal's example of a log-mel",
        "tensorflow/tensorflow tensorflow/python/ops/signal/mfcc_ops.py, mel_ops.py",
        mel_config(
            16000,
            1024,
            256,
            80,
            padding="none",
            fmin=80,
            fmax=7600,
            mel_scale="htk",
            norm=None,
            triangles="mel",
            scale=ln(0.0, offset=1e-6),
        ),
    ),
    Preset(
        "speech-features-16k",
        "python_speech_features logfbank defaults",
        "jameslyons/python_speech_features python_speech_features/base.py, sigproc.py",
        mel_config(
            16000,
            512,
            160,
            26,
            # Its powers are divided by n_fft, its floor is of their sums.
            mean=math.log(512) - _INT16_LN,
            **(_KALDI | {"window": "rectangular", "fmin": 0, "triangles": "bins"}),
            scale=ln(_DOUBLE_EPSILON * 512 / 2**30),
        ),
        note="samples of 16 bits, as scipy reads them; of samples within +-1 `mean` is 6.238325 "
        "(ln 512); it fills the last frame up with zeros, which adds up to a hop of silence",
    ),
)
