"""The functions of `unmel`: a mel in, samples out, for numpy and torch."""

from unmel.models.functions.inverse_mel import InverseMel
from unmel.models.functions.invert_mels import invert
from unmel.models.functions.librosa_like import mel_to_audio

__all__ = ["InverseMel", "invert", "mel_to_audio"]
