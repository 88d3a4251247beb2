"""A mel of SpeechT5's own feature extractor to audio: python examples/from_speecht5.py.

Needs transformers, soundfile and soxr, and the client's httpx and numpy; no weights are loaded.
"""

from __future__ import annotations

import sys

import soundfile
import soxr
from transformers import SpeechT5FeatureExtractor
from unmel_client import Unmel

url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
wave, rate = soundfile.read("examples/clip.wav", dtype="float32")
wave = soxr.resample(wave, rate, 16_000)
extractor = SpeechT5FeatureExtractor()
mel = extractor(audio_target=wave, sampling_rate=16_000)["input_values"][0]  # [frames, 80]

audio, rate = Unmel(url).reconstruct(mel, "speecht5-16k", quality="high")
soundfile.write("out.wav", audio, rate)
