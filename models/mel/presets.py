"""The mel configs of TTS front-ends and vocoders, each with its source file."""

from __future__ import annotations

from unmel.models.errors import Invalid
from unmel.models.mel.preset_families import FAMILIES
from unmel.models.mel.preset_fbank import FBANK
from unmel.models.mel.preset_row import Preset, ln, log10, mel_config

_CALLER_MOMENTS = "per-band mean and std are the recipe's: give them as `mean` and `std`"

_OTHERS = (
    Preset(
        "vocos-24k",
        "Vocos",
        "gemelo-ai/vocos vocos/feature_extractors.py",
        mel_config(24000, 1024, 256, 100, mel_scale="htk", norm=None, scale=ln(1e-7)),
    ),
    Preset(
        "f5-24k",
        "F5-TTS",
        "SWivid/F5-TTS src/f5_tts/model/modules.py",
        mel_config(24000, 1024, 256, 100, mel_scale="htk", norm=None, scale=ln(1e-5)),
    ),
    Preset(
        "zipvoice-24k",
        "ZipVoice",
        "k2-fsa/ZipVoice zipvoice/utils/feature.py, zipvoice/bin/infer_zipvoice.py",
        mel_config(24000, 1024, 256, 100, mel_scale="htk", norm=None, scale=ln(1e-7), std=10.0),
        note="Vocos's values times 0.1; it keeps samples / hop frames, rounded",
    ),
    Preset(
        "speecht5-16k",
        "SpeechT5",
        "huggingface/transformers feature_extraction_speecht5.py",
        mel_config(16000, 1024, 256, 80, fmin=80, fmax=7600, scale=log10(1e-10)),
    ),
    Preset(
        "espnet-16k",
        "ESPnet TTS",
        "espnet/espnet espnet2/layers/log_mel.py, espnet2/tts/feats_extract/log_mel_fbank.py",
        mel_config(
            16000, 1024, 256, 80, fmin=80, fmax=7600, magnitude_floor=1e-5, scale=log10(1e-10)
        ),
        note=_CALLER_MOMENTS,
    ),
    Preset(
        "pwg-24k",
        "ParallelWaveGAN, LibriTTS",
        "kan-bayashi/ParallelWaveGAN egs/libritts/voc1/conf/parallel_wavegan.v1.yaml",
        mel_config(24000, 2048, 300, 80, win_length=1200, fmin=80, fmax=7600, scale=log10(1e-10)),
        note=_CALLER_MOMENTS,
    ),
    Preset(
        "styletts2-24k",
        "StyleTTS 2",
        "yl4579/StyleTTS2 meldataset.py",
        mel_config(
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
            scale=ln(0.0, offset=1e-5),
            mean=-4.0,
            std=4.0,
        ),
        note="its filterbank was built for 16,000 Hz, so it spans 0 to 12 kHz of the audio",
    ),
    Preset(
        "pwg-22k",
        "ParallelWaveGAN, LJSpeech",
        "kan-bayashi/ParallelWaveGAN parallel_wavegan/bin/preprocess.py",
        mel_config(22050, 1024, 256, 80, fmin=80, fmax=7600, scale=log10(1e-10)),
        note=_CALLER_MOMENTS,
    ),
    Preset(
        "coqui-22k",
        "Coqui TTS",
        "coqui-ai/TTS TTS/config/shared_configs.py, TTS/utils/audio/processor.py",
        mel_config(22050, 1024, 256, 80, scale={"kind": "coqui"}),
    ),
    Preset(
        "rtvc-16k",
        "Real-Time-Voice-Cloning",
        "CorentinJ/Real-Time-Voice-Cloning synthesizer/hparams.py, synthesizer/audio.py",
        mel_config(
            16000,
            800,
            200,
            80,
            fmin=55,
            fmax=7600,
            padding="center_constant",
            preemphasis=0.97,
            scale={"kind": "coqui"},
        ),
        note="clips were scaled to a peak of 0.9; its vocoder takes the values divided by 4, whose "
        "`std` is 4; with librosa 0.8 the padding was center_reflect",
    ),
    Preset(
        "nemo-22k",
        "NeMo FastPitch 22 kHz",
        "NVIDIA/NeMo examples/tts/conf/fastpitch_align_v1.05.yaml, features.py",
        mel_config(
            22050,
            1024,
            256,
            80,
            fmax=8000,
            window="hann_symmetric",
            padding="center_constant",
            scale=ln(0.0, offset=1e-5),
        ),
        note="before 2025 its padding was center_reflect",
    ),
    Preset(
        "nemo-44k",
        "NeMo FastPitch 44 kHz",
        "NVIDIA/NeMo examples/tts/conf/fastpitch_44100.yaml, features.py",
        mel_config(
            44100,
            2048,
            512,
            80,
            norm=None,
            window="hann_symmetric",
            padding="center_constant",
            scale=ln(0.0, offset=1.0),
        ),
    ),
    Preset(
        "whisper-80",
        "Whisper",
        "openai/whisper whisper/audio.py",
        mel_config(16000, 400, 160, 80, power=2, drop_last=True, scale="whisper"),
    ),
    Preset(
        "whisper-128",
        "Whisper large-v3",
        "openai/whisper whisper/audio.py",
        mel_config(16000, 400, 160, 128, power=2, drop_last=True, scale="whisper"),
    ),
    Preset(
        "clap-48k",
        "CLAP",
        "huggingface/transformers feature_extraction_clap.py, audio_utils.py",
        mel_config(48000, 1024, 480, 64, fmax=14000, power=2, scale="db"),
        note="truncation `rand_trunc`; a short clip has been repeated to fill 10 s",
    ),
    Preset(
        "clap-fused-48k",
        "CLAP, fused",
        "huggingface/transformers feature_extraction_clap.py, audio_utils.py",
        mel_config(
            48000, 1024, 480, 64, fmax=14000, mel_scale="htk", norm=None, power=2, scale="db"
        ),
        note="truncation `fusion`, whose four mels of a short clip are the same",
    ),
    Preset(
        "torchaudio",
        "torchaudio MelSpectrogram defaults",
        "pytorch/audio src/torchaudio/transforms/_transforms.py",
        mel_config(16000, 400, 200, 128, mel_scale="htk", norm=None, power=2, scale="linear"),
        note="some of its lowest bands are empty at 128 bands",
    ),
    Preset(
        "librosa",
        "librosa melspectrogram defaults",
        "librosa/librosa librosa/feature/spectral.py",
        mel_config(22050, 2048, 512, 128, power=2, padding="center_constant", scale="linear"),
    ),
    Preset(
        "nnaudio",
        "nnAudio MelSpectrogram defaults",
        "KinWaiCheuk/nnAudio Installation/nnAudio/features/mel.py",
        mel_config(22050, 2048, 512, 128, power=2, scale="linear"),
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*FAMILIES, *_OTHERS, *FBANK)}


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
