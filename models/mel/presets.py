"""The mel configs of TTS front-ends and vocoders, each with its source file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig


@dataclass(frozen=True)
class Preset:
    """A named config with its project and the file of the project that defines it."""

    name: str
    project: str
    source: str
    config: MelConfig
    note: str = ""


def _config(rate: int, n_fft: int, hop: int, n_mels: int, **rest: Any) -> MelConfig:
    return MelConfig(sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, **rest)


def _ln(clip: float, offset: float = 0.0) -> dict[str, Any]:
    return {"kind": "ln", "clip": clip, "offset": offset}


_LOG10 = {"kind": "log10", "clip": 1e-10}

# The two families that most of the others descend from.
_T: dict[str, Any] = {"padding": "center_reflect", "scale": _ln(1e-5)}  # Tacotron 2
_H: dict[str, Any] = {"padding": "hifigan", "magnitude_eps": 1e-9, "scale": _ln(1e-5)}  # HiFi-GAN
_H6: dict[str, Any] = {**_H, "magnitude_eps": 1e-6}

_CALLER_MOMENTS = "per-band mean and std are the recipe's: give them as `mean` and `std`"

_TABLE = (
    Preset(
        "tacotron2-22k",
        "Tacotron 2",
        "NVIDIA/tacotron2 hparams.py, layers.py, stft.py",
        _config(22050, 1024, 256, 80, fmax=8000, **_T),
    ),
    Preset(
        "fastspeech2-22k",
        "FastSpeech 2",
        "ming024/FastSpeech2 config/LJSpeech/preprocess.yaml",
        _config(22050, 1024, 256, 80, fmax=8000, **_T),
    ),
    Preset(
        "glowtts-22k",
        "Glow-TTS",
        "jaywalnut310/glow-tts configs/base.json, stft.py",
        _config(22050, 1024, 256, 80, fmax=8000, **_T),
    ),
    Preset(
        "hifigan-22k",
        "HiFi-GAN v1",
        "jik876/hifi-gan config_v1.json, meldataset.py",
        _config(22050, 1024, 256, 80, fmax=8000, **_H),
    ),
    Preset(
        "gradtts-22k",
        "Grad-TTS",
        "huawei-noah/Speech-Backbones Grad-TTS/params.py",
        _config(22050, 1024, 256, 80, fmax=8000, **_H),
    ),
    Preset(
        "matcha-22k",
        "Matcha-TTS, LJSpeech",
        "shivammehta25/Matcha-TTS configs/data/ljspeech.yaml",
        _config(22050, 1024, 256, 80, fmax=8000, mean=-5.536622, std=2.116101, **_H),
    ),
    Preset(
        "matcha-vctk-22k",
        "Matcha-TTS, VCTK",
        "shivammehta25/Matcha-TTS configs/data/vctk.yaml",
        _config(22050, 1024, 256, 80, fmax=8000, mean=-6.630575, std=2.482914, **_H),
    ),
    Preset(
        "vits-22k",
        "VITS",
        "jaywalnut310/vits mel_processing.py",
        _config(22050, 1024, 256, 80, **_H6),
    ),
    Preset(
        "bigvgan-22k",
        "BigVGAN 22 kHz",
        "NVIDIA/BigVGAN configs/bigvgan_22khz_80band.json",
        _config(22050, 1024, 256, 80, fmax=8000, **_H),
    ),
    Preset(
        "bigvgan-24k",
        "BigVGAN 24 kHz",
        "NVIDIA/BigVGAN configs/bigvgan_24khz_100band.json",
        _config(24000, 1024, 256, 100, fmax=12000, **_H),
    ),
    Preset(
        "bigvgan-44k",
        "BigVGAN v2 44 kHz, hop 512",
        "NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_512x.json",
        _config(44100, 2048, 512, 128, **_H),
    ),
    Preset(
        "bigvgan-44k-256",
        "BigVGAN v2 44 kHz, hop 256",
        "NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_256x.json",
        _config(44100, 1024, 256, 128, **_H),
    ),
    Preset(
        "vocos-24k",
        "Vocos",
        "gemelo-ai/vocos vocos/feature_extractors.py",
        _config(24000, 1024, 256, 100, mel_scale="htk", norm=None, scale=_ln(1e-7)),
    ),
    Preset(
        "f5-24k",
        "F5-TTS",
        "SWivid/F5-TTS src/f5_tts/model/modules.py",
        _config(24000, 1024, 256, 100, mel_scale="htk", norm=None, scale=_ln(1e-5)),
    ),
    Preset(
        "cosyvoice2-24k",
        "CosyVoice 2",
        "FunAudioLLM/CosyVoice cosyvoice2.yaml",
        _config(24000, 1920, 480, 80, fmax=8000, **_H),
    ),
    Preset(
        "cosyvoice3-24k",
        "CosyVoice 3",
        "FunAudioLLM/CosyVoice cosyvoice3.yaml",
        _config(24000, 1920, 480, 80, **_H),
    ),
    Preset(
        "fish-44k",
        "fish-speech",
        "fishaudio/fish-speech fish_speech/utils/spectrogram.py",
        _config(44100, 2048, 512, 128, **_H6),
    ),
    Preset(
        "fish-firefly-44k",
        "fish-speech, Firefly GAN",
        "fishaudio/fish-speech fish_speech/utils/spectrogram.py",
        _config(44100, 2048, 512, 160, **_H6),
    ),
    Preset(
        "audioldm-16k",
        "AudioLDM",
        "haoheliu/AudioLDM audioldm/utils.py, audioldm/audio/stft.py",
        _config(16000, 1024, 160, 64, fmax=8000, **_T),
    ),
    Preset(
        "speecht5-16k",
        "SpeechT5",
        "huggingface/transformers feature_extraction_speecht5.py",
        _config(16000, 1024, 256, 80, fmin=80, fmax=7600, scale=_LOG10),
    ),
    Preset(
        "espnet-16k",
        "ESPnet TTS",
        "espnet/espnet espnet2/layers/log_mel.py, espnet2/tts/feats_extract/log_mel_fbank.py",
        _config(16000, 1024, 256, 80, fmin=80, fmax=7600, magnitude_floor=1e-5, scale=_LOG10),
        note=_CALLER_MOMENTS,
    ),
    Preset(
        "pwg-24k",
        "ParallelWaveGAN, LibriTTS",
        "kan-bayashi/ParallelWaveGAN egs/libritts/voc1/conf/parallel_wavegan.v1.yaml",
        _config(24000, 2048, 300, 80, win_length=1200, fmin=80, fmax=7600, scale=_LOG10),
        note=_CALLER_MOMENTS,
    ),
    Preset(
        "styletts2-24k",
        "StyleTTS 2",
        "yl4579/StyleTTS2 meldataset.py",
        _config(
            24000,
            2048,
            300,
            80,
            win_length=1200,
            fmax=8000,
            filterbank_rate=16000,
            mel_scale="htk",
            norm=None,
            power=2,
            scale=_ln(0.0, offset=1e-5),
            mean=-4.0,
            std=4.0,
        ),
        note="its filterbank was built for 16,000 Hz, so it spans 0 to 12 kHz of the audio",
    ),
    Preset(
        "pwg-22k",
        "ParallelWaveGAN, LJSpeech",
        "kan-bayashi/ParallelWaveGAN parallel_wavegan/bin/preprocess.py",
        _config(22050, 1024, 256, 80, fmin=80, fmax=7600, scale=_LOG10),
        note=_CALLER_MOMENTS,
    ),
    Preset(
        "coqui-22k",
        "Coqui TTS",
        "coqui-ai/TTS TTS/config/shared_configs.py, TTS/utils/audio/processor.py",
        _config(22050, 1024, 256, 80, scale={"kind": "coqui"}),
    ),
    Preset(
        "nemo-22k",
        "NeMo FastPitch 22 kHz",
        "NVIDIA/NeMo examples/tts/conf/fastpitch_align_v1.05.yaml, features.py",
        _config(
            22050,
            1024,
            256,
            80,
            fmax=8000,
            window="hann_symmetric",
            padding="center_constant",
            scale=_ln(0.0, offset=1e-5),
        ),
        note="before 2025 its padding was center_reflect",
    ),
    Preset(
        "nemo-44k",
        "NeMo FastPitch 44 kHz",
        "NVIDIA/NeMo examples/tts/conf/fastpitch_44100.yaml, features.py",
        _config(
            44100,
            2048,
            512,
            80,
            norm=None,
            window="hann_symmetric",
            padding="center_constant",
            scale=_ln(0.0, offset=1.0),
        ),
    ),
    Preset(
        "whisper-80",
        "Whisper",
        "openai/whisper whisper/audio.py",
        _config(16000, 400, 160, 80, power=2, drop_last=True, scale="whisper"),
    ),
    Preset(
        "whisper-128",
        "Whisper large-v3",
        "openai/whisper whisper/audio.py",
        _config(16000, 400, 160, 128, power=2, drop_last=True, scale="whisper"),
    ),
    Preset(
        "torchaudio",
        "torchaudio MelSpectrogram defaults",
        "pytorch/audio src/torchaudio/transforms/_transforms.py",
        _config(16000, 400, 200, 128, mel_scale="htk", norm=None, power=2, scale="linear"),
        note="some of its lowest bands are empty at 128 bands",
    ),
    Preset(
        "librosa",
        "librosa melspectrogram defaults",
        "librosa/librosa librosa/feature/spectral.py",
        _config(22050, 2048, 512, 128, power=2, padding="center_constant", scale="linear"),
    ),
    Preset(
        "nnaudio",
        "nnAudio MelSpectrogram defaults",
        "KinWaiCheuk/nnAudio Installation/nnAudio/features/mel.py",
        _config(22050, 2048, 512, 128, power=2, scale="linear"),
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _TABLE}


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises
    ------
    Invalid
        For an unknown name, with the known ones.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise Invalid(
            "config", repr(name[:80]), "a MelConfig object or one of " + ", ".join(PRESETS)
        ) from None
