"""Presets of the two families that most front-ends descend from: Tacotron 2's and HiFi-GAN's."""

from __future__ import annotations

from typing import Any

from unmel.models.mel.preset_row import Preset, ln, log10, mel_config

_T: dict[str, Any] = {"padding": "center_reflect", "scale": ln(1e-5)}  # Tacotron 2
_H: dict[str, Any] = {"padding": "hifigan", "magnitude_eps": 1e-9, "scale": ln(1e-5)}  # HiFi-GAN
_H0: dict[str, Any] = {**_H, "magnitude_eps": 0.0}
_H6: dict[str, Any] = {**_H, "magnitude_eps": 1e-6}

# GPT-SoVITS trains on (x + 12) / 14 * 2 - 1 of ln values x, with an epsilon of its own.
_GPT_SOVITS: dict[str, Any] = {**_H, "magnitude_eps": 1e-8, "mean": -5.0, "std": 7.0}
# RVC from release 2.3.260718 of July 2026.
_RVC: dict[str, Any] = {**_H, "magnitude_eps": 2e-7, "scale": ln(2e-6)}
_RVC_NOTE = "the mel of its training's loss; before July 2026 with epsilon 1e-6 and clip 1e-5"
_BEFORE = "what its decoder has turned back to ln has mean 0 and std 1"

FAMILIES = (
    Preset(
        "tacotron2-22k",
        "Tacotron 2",
        "NVIDIA/tacotron2 hparams.py, layers.py, stft.py",
        mel_config(22050, 1024, 256, 80, fmax=8000, **_T),
    ),
    Preset(
        "fastspeech2-22k",
        "FastSpeech 2",
        "ming024/FastSpeech2 config/LJSpeech/preprocess.yaml",
        mel_config(22050, 1024, 256, 80, fmax=8000, **_T),
    ),
    Preset(
        "glowtts-22k",
        "Glow-TTS",
        "jaywalnut310/glow-tts configs/base.json, stft.py",
        mel_config(22050, 1024, 256, 80, fmax=8000, **_T),
    ),
    Preset(
        "hifigan-22k",
        "HiFi-GAN v1",
        "jik876/hifi-gan config_v1.json, meldataset.py",
        mel_config(22050, 1024, 256, 80, fmax=8000, **_H),
    ),
    Preset(
        "gradtts-22k",
        "Grad-TTS",
        "huawei-noah/Speech-Backbones Grad-TTS/params.py",
        mel_config(22050, 1024, 256, 80, fmax=8000, **_H),
    ),
    Preset(
        "matcha-22k",
        "Matcha-TTS, LJSpeech",
        "shivammehta25/Matcha-TTS configs/data/ljspeech.yaml",
        mel_config(22050, 1024, 256, 80, fmax=8000, mean=-5.536622, std=2.116101, **_H),
    ),
    Preset(
        "matcha-vctk-22k",
        "Matcha-TTS, VCTK",
        "shivammehta25/Matcha-TTS configs/data/vctk.yaml",
        mel_config(22050, 1024, 256, 80, fmax=8000, mean=-6.630575, std=2.482914, **_H),
    ),
    Preset(
        "vits-22k",
        "VITS",
        "jaywalnut310/vits mel_processing.py",
        mel_config(22050, 1024, 256, 80, **_H6),
    ),
    Preset(
        "bigvgan-22k",
        "BigVGAN 22 kHz",
        "NVIDIA/BigVGAN configs/bigvgan_22khz_80band.json",
        mel_config(22050, 1024, 256, 80, fmax=8000, **_H),
    ),
    Preset(
        "bigvgan-24k",
        "BigVGAN 24 kHz",
        "NVIDIA/BigVGAN configs/bigvgan_24khz_100band.json",
        mel_config(24000, 1024, 256, 100, fmax=12000, **_H),
    ),
    Preset(
        "bigvgan-44k",
        "BigVGAN v2 44 kHz, hop 512",
        "NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_512x.json",
        mel_config(44100, 2048, 512, 128, **_H),
    ),
    Preset(
        "bigvgan-44k-256",
        "BigVGAN v2 44 kHz, hop 256",
        "NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_256x.json",
        mel_config(44100, 1024, 256, 128, **_H),
    ),
    Preset(
        "cosyvoice2-24k",
        "CosyVoice 2",
        "FunAudioLLM/CosyVoice cosyvoice2.yaml",
        mel_config(24000, 1920, 480, 80, fmax=8000, **_H),
    ),
    Preset(
        "cosyvoice3-24k",
        "CosyVoice 3",
        "FunAudioLLM/CosyVoice cosyvoice3.yaml",
        mel_config(24000, 1920, 480, 80, **_H),
    ),
    Preset(
        "fish-44k",
        "fish-speech",
        "fishaudio/fish-speech fish_speech/utils/spectrogram.py",
        mel_config(44100, 2048, 512, 128, **_H6),
    ),
    Preset(
        "fish-firefly-44k",
        "fish-speech, Firefly GAN",
        "fishaudio/fish-speech fish_speech/utils/spectrogram.py",
        mel_config(44100, 2048, 512, 160, **_H6),
    ),
    Preset(
        "audioldm-16k",
        "AudioLDM",
        "haoheliu/AudioLDM audioldm/utils.py, audioldm/audio/stft.py",
        mel_config(16000, 1024, 160, 64, fmax=8000, **_T),
    ),
    Preset(
        "gptsovits3-24k",
        "GPT-SoVITS v3",
        "RVC-Boss/GPT-SoVITS GPT_SoVITS/TTS_infer_pack/TTS.py, GPT_SoVITS/module/mel_processing.py",
        mel_config(24000, 1024, 256, 100, **_GPT_SOVITS),
        note=_BEFORE,
    ),
    Preset(
        "gptsovits4-32k",
        "GPT-SoVITS v4",
        "RVC-Boss/GPT-SoVITS GPT_SoVITS/TTS_infer_pack/TTS.py, GPT_SoVITS/module/mel_processing.py",
        mel_config(32000, 1280, 320, 100, **_GPT_SOVITS),
        note=_BEFORE,
    ),
    Preset(
        "chatterbox-24k",
        "Chatterbox, S3Gen",
        "resemble-ai/chatterbox src/chatterbox/models/s3gen/utils/mel.py",
        mel_config(24000, 1920, 480, 80, fmax=8000, **_H),
        note="its bands end at 8 kHz, as CosyVoice 2's do",
    ),
    Preset(
        "vevo-24k",
        "Amphion Vevo",
        "open-mmlab/Amphion models/vc/vevo/config/Vocoder.json, models/vc/vevo/vevo_utils.py, "
        "models/codec/melvqgan/melspec.py",
        mel_config(24000, 1920, 480, 128, mean=-4.92, std=8.14**0.5, **_H),
        note="its vocoder takes the normalised mel; 8.14 is the variance",
    ),
    Preset(
        "mmaudio-16k",
        "MMAudio 16 kHz",
        "hkchengrex/MMAudio mmaudio/ext/mel_converter.py",
        mel_config(16000, 1024, 256, 80, **{**_H, "scale": log10(1e-5)}),
        note="log10, where the 44.1 kHz model has ln",
    ),
    Preset(
        "mmaudio-44k",
        "MMAudio 44.1 kHz",
        "hkchengrex/MMAudio mmaudio/ext/mel_converter.py",
        mel_config(44100, 2048, 512, 128, **_H),
    ),
    Preset(
        "diffsinger-44k",
        "DiffSinger (OpenVPI)",
        "openvpi/DiffSinger configs/acoustic.yaml, modules/nsf_hifigan/nvSTFT.py",
        mel_config(44100, 2048, 512, 128, fmin=40, fmax=16000, **_H0),
        note="with `mel_base: '10'`, possible before 2.4.0, the scale is log10",
    ),
    Preset(
        "seedvc-44k",
        "Seed-VC 44 kHz",
        "Plachtaa/seed-vc configs/presets/config_dit_mel_seed_uvit_whisper_base_f0_44k.yml, "
        "modules/audio.py",
        mel_config(44100, 2048, 512, 128, **_H),
    ),
    Preset(
        "indextts2-22k",
        "IndexTTS-2",
        "index-tts/index-tts checkpoints/config.yaml (tracked until July 2026), "
        "indextts/s2mel/modules/audio.py",
        mel_config(22050, 1024, 256, 80, **_H),
        note="its bands end at 11,025 Hz, not HiFi-GAN's 8 kHz",
    ),
    Preset(
        "acestep-44k",
        "ACE-Step, vocoder",
        "ace-step/ACE-Step acestep/music_dcae/music_vocoder.py, music_log_mel.py",
        mel_config(44100, 2048, 512, 128, fmin=40, fmax=16000, **_H6),
        note="its autoencoder's own values are (x + 4) / 7: mean -4, std 7",
    ),
    Preset(
        "rvc-40k",
        "RVC 40 kHz",
        "RVC-Project/Retrieval-based-Voice-Conversion-WebUI configs/v1/40k.json, "
        "train/mel_processing.py",
        mel_config(40000, 2048, 400, 125, **_RVC),
        note=_RVC_NOTE,
    ),
    Preset(
        "rvc-48k",
        "RVC 48 kHz",
        "RVC-Project/Retrieval-based-Voice-Conversion-WebUI configs/v2/48k.json, "
        "train/mel_processing.py",
        mel_config(48000, 2048, 480, 128, **_RVC),
        note=_RVC_NOTE,
    ),
)
