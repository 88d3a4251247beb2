"""Formats: every cell of format and rate reads back; levels and Accept follow their rules."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from tests.root import ROOT
from tests.signals import voice
from unmel.models.errors import Invalid
from unmel.service.errors import NotAcceptable
from unmel.service.wire.formats import (
    FORMATS,
    encode_audio,
    encode_npy,
    format_for,
    to_fixed,
)
from unmel.service.wire.levels import LevelOptions, apply_levels, loudness, sections

WAVE = voice(0.2)
RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000)
LOSSY = {"ogg", "opus", "mp3"}


def read(encoded: bytes, name: str, rate: int) -> tuple[np.ndarray, int]:
    """The samples of what was written, and their rate."""
    form = FORMATS[name]
    if form.container is not None:
        return soundfile.read(io.BytesIO(encoded), dtype="float32")
    kind, full = ("<i2", 32767) if form.fixed_point else ("<f4", 1)
    return np.frombuffer(encoded, kind) / full, rate


def tone(rate: int, seconds: float = 1.0, level: float = 0.5, pitch: float = 440.0) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    return (level * np.sin(2 * np.pi * pitch * t)).astype(np.float32)


# --- format x rate ----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_at_every_rate_reads_back_as_the_tone_that_it_was(
    name: str, rate: int
) -> None:
    encoded = encode_audio(tone(rate), rate, name)
    held = FORMATS[name].rate_for(rate)
    back, said = read(encoded.data, name, encoded.sample_rate)
    assert said == encoded.sample_rate == held
    assert len(back) == held
    assert bool(encoded.warnings) == (held != rate)
    # Whatever a coder adds, the tone that went in explains nearly all that comes out.
    middle = slice(held // 10, -held // 10)
    error = (back - tone(held))[middle]
    assert np.mean(error**2) < (2e-2 if name in LOSSY else 1e-6) * np.mean(back[middle] ** 2)


def test_the_table_in_the_docs_is_what_the_formats_do() -> None:
    lines = ["| format | " + " | ".join(f"{rate}" for rate in RATES) + " |"]
    lines.append("|---" * (len(RATES) + 1) + "|")
    for name, form in FORMATS.items():
        cells = [
            "as is" if (held := form.rate_for(rate)) == rate else f"at {held}" for rate in RATES
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    assert "\n".join(lines) in (ROOT / "docs" / "formats.md").read_text()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", [1000, 191_999, 200_001, 384_000])
def test_no_rate_that_a_config_can_have_is_beyond_a_format(name: str, rate: int) -> None:
    encoded = encode_audio(tone(rate, 0.1), rate, name)
    back, said = read(encoded.data, name, encoded.sample_rate)
    assert said == encoded.sample_rate
    assert len(back) == pytest.approx(0.1 * said, abs=2)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("samples", [1, 7, 5000])
def test_clips_of_any_length_keep_it(name: str, samples: int) -> None:
    encoded = encode_audio(np.full(samples, 0.25, np.float32), 24_000, name)
    assert len(read(encoded.data, name, 24_000)[0]) == samples


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_a_rate_that_was_asked_for_and_is_not_held_is_refused(name: str) -> None:
    with pytest.raises(
        Invalid, match=r"sample_rate: got 44101 for .* expected another rate, such as 48000"
    ):
        encode_audio(WAVE, 22_050, name, LevelOptions(sample_rate=44_101))


def test_resampling_a_single_sample_gives_one() -> None:
    assert (
        len(apply_levels(WAVE[:1], 48_000, LevelOptions(sample_rate=8000), bounded=True).samples)
        == 1
    )


# --- levels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 2, 4097, 30_001])
def test_a_wav_of_16_bits_has_the_bytes_that_libsndfile_writes(samples: int) -> None:
    wave = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    written = io.BytesIO()
    soundfile.write(written, to_fixed(wave), 22050, "PCM_16", format="WAV")
    assert encode_audio(wave, 22050, "wav").data == written.getvalue()


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [("wav", "PCM_16", 1 / 32767), ("wav_f32", "FLOAT", 0), ("flac", "PCM_16", 1 / 32767)],
)
def test_a_file_comes_back_as_it_was_written(name: str, subtype: str, step: float) -> None:
    encoded = encode_audio(WAVE, 22050, name)
    with soundfile.SoundFile(io.BytesIO(encoded.data)) as file:
        assert (file.samplerate, file.channels, file.subtype) == (22050, 1, subtype)
        back = file.read(dtype="float32")
    assert encoded.gain == 1.0
    np.testing.assert_allclose(back, WAVE, atol=step)


def test_bare_samples_are_little_endian_and_say_so() -> None:
    fixed = encode_audio(WAVE, 16000, "pcm")
    np.testing.assert_allclose(np.frombuffer(fixed.data, "<i2") / 32767, WAVE, atol=1 / 32767)
    assert fixed.media_type == "audio/pcm; rate=16000; channels=1; encoding=s16le"
    floats = encode_audio(WAVE, 16000, "pcm_f32")
    np.testing.assert_array_equal(np.frombuffer(floats.data, "<f4"), WAVE)
    assert floats.media_type.endswith("encoding=f32le")


def test_fixed_point_is_scaled_to_fit_and_says_by_how_much() -> None:
    loud = WAVE * 8
    encoded = encode_audio(loud, 22050, "pcm")
    samples = np.frombuffer(encoded.data, "<i2")
    assert np.abs(samples).max() == 32767
    np.testing.assert_allclose(samples / 32767, loud * encoded.gain, atol=1 / 32767)
    assert encode_audio(loud, 22050, "pcm_f32").gain == 1.0


def test_normalize_peak_brings_the_peak_to_minus_one_db_and_silence_stays() -> None:
    encoded = encode_audio(WAVE, 22050, "pcm_f32", LevelOptions("peak"))
    assert np.abs(np.frombuffer(encoded.data, "<f4")).max() == pytest.approx(10 ** (-1 / 20))
    assert encode_audio(0 * WAVE, 22050, "wav", LevelOptions("peak")).gain == 1.0


def test_gain_is_added_after_normalising_and_bounded_formats_fit() -> None:
    lower = apply_levels(WAVE, 22_050, LevelOptions("peak", gain=-5.0), bounded=True)
    assert np.abs(lower.samples).max() == pytest.approx(10 ** (-6 / 20))
    plain = apply_levels(WAVE, 22_050, LevelOptions(gain=6.0), bounded=False)
    np.testing.assert_allclose(plain.samples, WAVE * 10 ** (6 / 20), rtol=1e-6)
    over = apply_levels(WAVE, 22_050, LevelOptions("peak", gain=12.0), bounded=True)
    assert np.abs(over.samples).max() == pytest.approx(1.0)
    beyond = apply_levels(WAVE, 22_050, LevelOptions("peak", gain=12.0), bounded=False)
    assert np.abs(beyond.samples).max() == pytest.approx(10 ** (11 / 20))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_loudness_brings_a_clip_to_minus_23_lufs_in_every_format(name: str) -> None:
    for level in (0.01, 0.7):
        encoded = encode_audio(level * voice(2.0), 22_050, name, LevelOptions("loudness"))
        back, rate = read(encoded.data, name, encoded.sample_rate)
        assert loudness(back, rate) == pytest.approx(-23.0, abs=0.5 if name in LOSSY else 0.02)
        assert encoded.gain != 1.0


def test_the_weighting_at_48_khz_is_the_standards_table() -> None:
    """ITU-R BS.1770-4, tables 1 and 2."""
    (shelf_b, shelf_a), (pass_b, pass_a) = sections(48_000)
    table = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    np.testing.assert_allclose(shelf_b, table, rtol=1e-9)
    np.testing.assert_allclose(shelf_a, [1.0, -1.69065929318241, 0.73248077421585], rtol=1e-9)
    np.testing.assert_allclose(pass_b, [1.0, -2.0, 1.0])
    np.testing.assert_allclose(pass_a, [1.0, -1.99004745483398, 0.99007225036621], rtol=1e-9)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 96_000])
def test_a_full_scale_tone_reads_what_the_standard_says(rate: int) -> None:
    assert loudness(tone(rate, 2.0, 1.0, 997.0), rate) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        ([(20, -23.0)], -26.0),
        ([(10, -36.0), (60, -23.0), (10, -36.0)], -26.0),
        ([(10, -72.0), (10, -36.0), (60, -23.0), (10, -36.0), (10, -72.0)], -26.0),
        ([(20, -26.0), (20.1, -20.0), (20, -26.0)], -26.0),
    ],
)
def test_the_gates_are_those_of_ebu_tech_3341(
    parts: list[tuple[float, float]], lufs: float
) -> None:
    """Its cases 1 and 3 to 5, of one channel: 3 dB less than the two that it has."""
    wave = np.concatenate(
        [tone(8000, seconds, 10 ** (level / 20), 1000.0) for seconds, level in parts]
    )
    assert loudness(wave, 8000) == pytest.approx(lufs, abs=0.1)


def test_the_weighting_in_pieces_is_the_recursive_filter() -> None:
    wave = np.random.default_rng(0).standard_normal(40_000).astype(np.float32)
    expected = wave.astype(np.float64)
    for b, a in sections(8000):
        expected = lfilter(b, a, expected)
    power = np.mean(expected[:3200] ** 2)
    assert loudness(wave[:3200], 8000) == pytest.approx(-0.691 + 10 * math.log10(power), abs=1e-6)


def test_silence_and_less_than_the_gate_are_left_alone() -> None:
    assert loudness(np.zeros(1000, np.float32), 8000) == -math.inf
    assert (
        apply_levels(np.zeros(1000, np.float32), 8000, LevelOptions("loudness"), bounded=True).gain
        == 1.0
    )
    faint = tone(8000, 1.0, 1e-5)
    assert apply_levels(faint, 8000, LevelOptions("loudness"), bounded=True).gain == 1.0


# --- Accept -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "wav"),
        ("", "wav"),
        ("*/*", "wav"),
        ("audio/*", "wav"),
        ("audio/flac", "flac"),
        ("audio/x-wav", "wav"),
        ("audio/ogg", "ogg"),
        ("audio/ogg; codecs=opus", "opus"),
        ('Audio/OGG; codecs="opus"', "opus"),
        ("audio/opus", "opus"),
        ("audio/mpeg, audio/wav;q=0.5", "mp3"),
        ("audio/wav;q=0.5, audio/mpeg", "mp3"),
        ("audio/flac, audio/mpeg", "flac"),
        ("audio/mpeg, */*", "mp3"),
        ("*/*, audio/mpeg", "mp3"),
        ("text/html, audio/flac;q=0.5, audio/pcm;q=0.9", "pcm"),
        ("audio/*, audio/wav;q=0, audio/x-wav;q=0, audio/wave;q=0", "flac"),
        ("audio/flac;q=0, */*;q=0.1", "wav"),
        ("text/html, */*;q=0.8", "wav"),
    ],
)
def test_accept_chooses_the_format(accept: str | None, name: str) -> None:
    assert format_for(accept) == name


@pytest.mark.parametrize("accept", ["image/png", "audio/flac;q=0", "audio/flac;q=abc", "audio/aac"])
def test_an_accept_that_nothing_fits_is_refused_with_what_would(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="audio/mpeg"):
        format_for(accept)


def test_npy_out_is_what_numpy_loads() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4) + 1j
    np.testing.assert_array_equal(np.load(io.BytesIO(encode_npy(array).data)), array)
