"""The limiter: full scale is never passed, what fits is untouched, the limited sounds alike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import stft

from tests.signals import voice
from unmel.service.wire.formats import FORMATS, encode_audio
from unmel.service.wire.levels import LevelOptions, apply_levels, loudness
from unmel.service.wire.limiter import Limiter, limit
from unmel.service.wire.schemas import ChunkedOptions, StreamOptions
from unmel.service.wire.writers import STREAMED_FORMATS, writer

RATE = 22_050
BOUNDED = sorted(name for name, form in FORMATS.items() if form.bounded)


def at(decibels: float, wave: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """A voice, or a wave, whose peak is at this level."""
    wave = voice(2.0) if wave is None else wave
    return (wave * (10 ** (decibels / 20) / np.abs(wave).max())).astype(np.float32)


def noise(level: float, count: int = 20_000) -> NDArray[np.float32]:
    return (level * np.random.default_rng(0).standard_normal(count)).astype(np.float32)


# --- the limiter ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1000, 8000, 44_100, 384_000])
@pytest.mark.parametrize("level", [0.3, 1.0, 3.9, 1e30])
def test_no_sample_passes_full_scale_and_none_is_lost(rate: int, level: float) -> None:
    for wave in (noise(level), noise(level, 0), noise(level, 1), noise(level, 40)):
        limited = limit(wave, rate)
        assert limited.shape == wave.shape
        assert limited.dtype == np.float32
        assert np.abs(limited).max(initial=0.0) <= 1.0


def test_what_fits_is_untouched_to_the_bit() -> None:
    for wave in (at(0.0), -at(0.0), noise(0.1), np.ones(3000, np.float32)):
        assert limit(wave, RATE).tobytes() == wave.tobytes()
        for peak in (None, "limit", "scale", "clip"):
            kept = apply_levels(wave, RATE, LevelOptions(peak=peak), bounded=True)
            assert kept.samples.tobytes() == wave.tobytes()
            assert (kept.gain, kept.warnings) == (1.0, ())


@pytest.mark.parametrize("pieces", [1, 2, 77, 5000])
def test_the_same_samples_come_out_however_they_were_cut(pieces: int) -> None:
    wave = np.concatenate([at(9.0), at(-9.0), at(3.0)])
    cuts = np.sort(np.random.default_rng(pieces).integers(0, len(wave), pieces - 1))
    limiter = Limiter(RATE)
    out = [*(limiter.add(piece) for piece in np.split(wave, cuts)), limiter.end()]
    assert np.concatenate(out).tobytes() == limit(wave, RATE).tobytes()
    assert limiter.peak == np.abs(wave).max()
    assert limiter.over == (np.abs(wave) > 1).sum()


def test_samples_come_out_one_look_ahead_later() -> None:
    limiter, wave = Limiter(48_000), at(6.0)
    assert len(limiter.add(wave)) == len(wave) - 240


def test_a_peak_turns_down_its_surroundings_and_nothing_else() -> None:
    """From 5 ms before it until the release is over: 3 dB at 60 dB a second."""
    wave = np.full(RATE, 0.25, np.float32)
    wave[RATE // 2] = 10 ** (3 / 20)
    limited = limit(wave, RATE)
    changed = np.flatnonzero(limited != wave)
    before, after = RATE // 2 - changed[0], changed[-1] - RATE // 2
    assert before <= 0.005 * RATE + 1
    assert after <= (0.005 + 0.02 + 3 / 60 + 0.001) * RATE
    assert limited[RATE // 2] == pytest.approx(1.0, abs=1e-5)
    gain = np.delete(limited / wave, RATE // 2)
    assert np.abs(np.diff(gain)).max() < 0.01  # no step


@pytest.mark.parametrize("hz", [25, 60, 100, 440, 3000, 9000])
@pytest.mark.parametrize("decibels", [1.0, 6.0, 12.0])
def test_a_sine_stays_a_sine(hz: int, decibels: float) -> None:
    """What is not the tone lies 90 dB below it; clipped at +6 dB it lies 11 dB below."""
    wave = at(decibels, np.sin(2 * np.pi * hz * np.arange(3 * RATE) / RATE).astype(np.float32))
    assert _distortion(limit(wave, RATE), hz) < -90
    if decibels == 6.0 and hz < 1000:
        assert _distortion(np.clip(wave, -1, 1), hz) > -15


def _distortion(wave: NDArray[np.float32], hz: int) -> float:
    """Power beside a tone, dB of its own, in the second of three seconds: bins are 1 Hz wide."""
    power = np.abs(np.fft.rfft(wave[RATE : 2 * RATE].astype(np.float64))) ** 2
    return float(10 * np.log10((power.sum() - power[hz]) / power[hz]))


def test_speech_at_6_db_keeps_its_loudness_and_its_sound() -> None:
    """Scaled it would lose 6 dB. The distance is that of log spectra, gain apart."""
    wave = at(6.0)
    limited, clipped = limit(wave, RATE), np.clip(wave, -1, 1)
    assert -2.5 < loudness(limited, RATE) - loudness(wave, RATE) < 0
    assert _spectral_distance(limited, wave) < 0.4 * _spectral_distance(clipped, wave)


def _spectral_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean over frames of the standard deviation of the ratio of spectra, dB."""
    first, second = (np.abs(stft(wave, nperseg=512)[2]) for wave in (a, b))
    loud = second.max(axis=0) > 0.1 * second.max()
    ratio = 20 * np.log10((first + 1e-5) / (second + 1e-5))
    return float(ratio.std(axis=0)[loud].mean())


def test_a_quiet_sentence_beside_a_loud_one_keeps_its_level() -> None:
    """Which scaling would turn down by 5 dB, beside another clip without a peak."""
    quiet, pause = at(-9.0), np.zeros(RATE // 4, np.float32)
    encoded = encode_audio(np.concatenate([at(5.0), pause, quiet]), RATE, "pcm")
    alone = encode_audio(quiet, RATE, "pcm").data
    assert encoded.data[-len(alone) :] == alone
    assert encoded.gain == 1.0


# --- the option -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOUNDED)
def test_bounded_formats_limit_by_default_and_say_what_the_peak_was(name: str) -> None:
    encoded = encode_audio(at(3.0), RATE, name)
    assert encoded.gain == 1.0
    assert encoded.warnings[-1].endswith("(+3.0 dB) above full scale: limited")
    assert encode_audio(at(3.0), RATE, name, LevelOptions(peak="limit")).gain == 1.0


@pytest.mark.parametrize("peak", [None, "limit", "scale"])
def test_more_than_12_db_over_are_scaled_as_a_whole(peak: str | None) -> None:
    limited = apply_levels(at(11.9), RATE, LevelOptions(peak="limit"), bounded=True)
    assert limited.gain == 1.0
    wave = at(12.1)
    levelled = apply_levels(wave, RATE, LevelOptions(peak=peak), bounded=True)
    assert levelled.gain == pytest.approx(10 ** (-12.1 / 20))
    np.testing.assert_allclose(levelled.samples, wave * levelled.gain, rtol=1e-6)
    assert levelled.warnings == ("peak 4.027 (+12.1 dB) above full scale: scaled as a whole",)


def test_scale_and_clip_do_so_at_any_peak() -> None:
    wave = at(3.0)
    scaled = apply_levels(wave, RATE, LevelOptions(peak="scale"), bounded=True)
    assert scaled.gain == pytest.approx(10 ** (-3 / 20))
    np.testing.assert_allclose(scaled.samples, wave * scaled.gain, rtol=1e-6)
    clipped = apply_levels(wave, RATE, LevelOptions(peak="clip"), bounded=True)
    np.testing.assert_array_equal(clipped.samples, np.clip(wave, -1, 1))
    assert clipped.gain == 1.0
    assert "clipped" in clipped.warnings[0]


@pytest.mark.parametrize("name", ["wav_f32", "pcm_f32"])
def test_float_formats_keep_every_sample_unless_asked(name: str) -> None:
    kept = encode_audio(at(6.0), RATE, name)
    assert kept.data.endswith(at(6.0).tobytes())
    assert kept.warnings == ()
    limited = encode_audio(at(6.0), RATE, name, LevelOptions(peak="limit"))
    assert limited.data.endswith(limit(at(6.0), RATE).tobytes())


def test_the_limiter_comes_after_gain_and_normalisation() -> None:
    """-1 dB of full scale, 7 dB more, 6 dB over; another rate has other peaks."""
    options = LevelOptions("peak", gain=7.0, sample_rate=16_000)
    levelled = apply_levels(voice(1.0), RATE, options, bounded=True)
    free = apply_levels(voice(1.0), RATE, options, bounded=False)
    np.testing.assert_array_equal(levelled.samples, limit(free.samples, 16_000))
    assert levelled.gain == free.gain > 1
    assert "+6.0 dB" in levelled.warnings[0]


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("peak", [None, "limit", "clip"])
@pytest.mark.parametrize("name", sorted(STREAMED_FORMATS))
def test_a_stream_has_the_samples_of_the_whole_clip(name: str, peak: str | None) -> None:
    wave = at(5.0)
    out = writer(name, RATE, len(wave), peak)
    data = out.begin() + b"".join(out.add(wave[k : k + 256]) for k in range(0, len(wave), 256))
    data += out.end()
    whole = encode_audio(wave, RATE, name, LevelOptions(peak=peak)).data
    if name in ("wav", "wav_f32", "pcm", "pcm_f32"):
        assert data[-2 * len(wave) :] == whole[-2 * len(wave) :]
    elif name == "flac":  # beside the header, which has a checksum of what came before it
        assert data[200:] == whole[200:]
    bounded = peak or FORMATS[name].bounded
    over = int((np.abs(wave) > 1).sum())
    if name != "opus":  # at another rate
        assert out.clipped == (over if peak == "clip" else 0)
        assert out.limited == (over if bounded and peak != "clip" else 0)
    assert len(out.warnings) == (1 if bounded else 0)


def test_a_stream_far_over_full_scale_is_limited_all_the_same() -> None:
    """Nothing can be scaled there."""
    out, wave = writer("pcm", RATE, None), at(40.0)
    samples = np.frombuffer(out.add(wave) + out.end(), "<i2")
    assert len(samples) == len(wave)
    assert out.warnings == (f"peak 100 (+40.0 dB) above full scale: {out.limited} samples limited",)
    assert (np.abs(samples) == 32767).mean() < 0.02  # clipped it would be most of them


@pytest.mark.parametrize("kind", [StreamOptions, ChunkedOptions])
def test_a_stream_cannot_be_scaled(kind: type[StreamOptions] | type[ChunkedOptions]) -> None:
    with pytest.raises(ValueError, match="limit"):
        kind(config="hifigan-22k", peak="scale")
