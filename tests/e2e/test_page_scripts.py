"""The page's arithmetic, run in the browser, beside numpy and the service's own measurement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browser import with_browser
from tests.e2e.watched import Watched
from tests.signals import voice
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.presets import PRESETS
from unmel.service.wire.levels import loudness

pytestmark = [pytest.mark.process, pytest.mark.loops, pytest.mark.slow, with_browser]


@pytest.fixture(scope="module")
def page(browser: Browser, url: str) -> Iterator[Page]:
    watched = Watched(browser, url)
    yield watched.page
    assert watched.faults == []
    watched.context.close()


def run(page: Page, module: str, body: str, **values: Any) -> Any:
    """The value of a script's body, which has the module as `m` and the values as `v`."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        return value.tolist() if isinstance(value, np.ndarray) else value

    return page.evaluate(
        f"async v => {{ const m = await import('/static/{module}.js'); {body} }}",
        {name: plain(value) for name, value in values.items()},
    )


@pytest.mark.parametrize("centre", [0, 100, 3000, 5999])
def test_the_powers_of_a_moment_are_those_of_numpy(page: Page, centre: int) -> None:
    wave = np.random.default_rng(1).uniform(-1, 1, 6000).astype(np.float32)
    size = run(page, "spectrum", "return m.windowSize(48000);")
    assert size == 2048
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    found = run(
        page,
        "spectrum",
        "return [...m.powers(Float32Array.from(v.wave), v.centre, Float64Array.from(v.window))];",
        wave=wave,
        window=window,
        centre=centre,
    )
    padded = np.concatenate([np.zeros(size // 2), wave.astype(np.float64), np.zeros(size)])
    spectrum = np.fft.rfft(window * padded[centre : centre + size])
    expected = 4 * np.abs(spectrum) ** 2 / window.sum() ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-18)


def test_a_sine_of_full_scale_is_a_line_of_0_db_at_its_frequency(page: Page) -> None:
    rate, rows, columns, top = 44100, 100, 8, 10_000
    wave = np.sin(2 * np.pi * 3050 * np.arange(rate) / rate)
    found = run(
        page,
        "spectrum",
        "return [...m.levels(Float32Array.from(v.wave), 44100, v.view)];",
        wave=wave,
        view={"from": 0.1, "to": 0.9, "top": top, "columns": columns, "rows": rows},
    )
    levels = np.reshape(found, (rows, columns))
    line = rows - 1 - 3050 * rows // top
    assert (levels.argmax(0) == line).all()
    # Between two bins a Hann window loses up to 1.42 dB.
    assert (levels[line] <= 0.01).all()
    assert (levels[line] >= -1.5).all()
    assert levels[np.abs(np.arange(rows) - line) > 3].max() < -60


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.2, 3.0])
def test_loudness_is_what_the_service_measures(page: Page, rate: int, seconds: float) -> None:
    wave = np.concatenate([voice(seconds, rate), 1e-4 * voice(seconds, rate, 1)])
    found = run(page, "loudness", f"return m.loudness(v.wave, {rate});", wave=wave)
    assert found == pytest.approx(loudness(wave, rate), abs=0.02)


def test_two_sounds_are_made_equally_loud_and_neither_clips(page: Page) -> None:
    rate = 48000
    quiet = 0.01 * voice(1.0, rate)
    spiky = quiet.copy()
    spiky[1000] = 0.9
    gains = run(
        page,
        "loudness",
        """return m.matched(v.sounds.map((samples) =>
             ({loudness: m.loudness(samples, 48000), peak: m.peak(samples)})));""",
        sounds=[quiet, spiky],
    )
    both = [gain * wave for gain, wave in zip(gains, (quiet, spiky), strict=True)]
    first, second = (loudness(wave.astype(np.float32), rate) for wave in both)
    assert first == pytest.approx(second, abs=0.02)
    assert max(np.abs(wave).max() for wave in both) == pytest.approx(1 - 2**-15, abs=1e-6)
    silent = run(page, "loudness", "return m.matched([{loudness: -Infinity, peak: 0}]);")
    assert silent == [1]


def test_a_blind_tests_band_ends_where_the_mel_does_and_moves_nothing(page: Page) -> None:
    rate, top = 48000, 8000
    times = np.arange(rate) / rate
    kept = 0.3 * np.sin(2 * np.pi * 7500 * times) + 0.3 * np.sin(2 * np.pi * 300 * times)
    gone = 0.3 * np.sin(2 * np.pi * 8000 * times) + 0.3 * np.sin(2 * np.pi * 15_000 * times)
    found = run(
        page,
        "band",
        """const sound = {samples: Float32Array.from(v.wave), rate: 48000, seconds: 1};
           const {samples, loudness, peak} = await m.limited(sound, v.top);
           return [[...samples], loudness, peak];""",
        wave=kept + gone,
        top=top,
    )
    wave, level, peak = np.array(found[0], np.float32), found[1], found[2]
    assert len(wave) == rate
    inside = slice(1000, -1000)
    np.testing.assert_allclose(wave[inside], kept[inside], atol=3e-4)
    assert level == pytest.approx(loudness(wave, rate), abs=0.02)
    assert peak == pytest.approx(np.abs(wave).max())


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "styletts2-24k"])
def test_a_mels_top_is_where_its_last_band_ends(page: Page, name: str) -> None:
    config = PRESETS[name].config
    top = run(page, "band", "return m.topOf(v.c);", c=config.model_dump(mode="json"))
    last = filterbank(config).any(0).nonzero()[0].max() * config.sample_rate / config.n_fft
    assert top == pytest.approx(last, abs=2 * config.sample_rate / config.n_fft)


DECK = """
  const context = new OfflineAudioContext(1, 8000, 8000);
  const buffers = m.buffersOf(context, v.sounds.map((sound) => Float32Array.from(sound)));
  const deck = new m.Deck(context, buffers, v.levels, 0, {from: 0, to: 1, at: 0});
  for (const [heard, at] of v.switches) deck.hear(heard, at);
  return [...(await context.startRendering()).getChannelData(0)];
"""
SOFT = slice(45, -45)  # without the edges of 5 ms


def test_a_switch_has_no_gap_and_no_bump(page: Page) -> None:
    ones = np.ones(8000)
    switches = [(1, 0.3), (0, 0.302), (1, 0.303), (0, 0.6)]  # some meet others under way
    heard = run(page, "deck", DECK, sounds=[ones, ones], levels=[0.5, 0.5], switches=switches)
    np.testing.assert_allclose(heard[SOFT], 0.5, atol=1e-5)


def test_after_a_switch_the_other_sound_goes_on_from_the_same_instant(page: Page) -> None:
    ramp = np.arange(8000) / 8000
    heard = np.array(
        run(page, "deck", DECK, sounds=[ramp, -ramp], levels=[1, 0.5], switches=[(1, 0.5)])
    )
    np.testing.assert_allclose(heard[45:4000], ramp[45:4000], atol=1e-4)
    done = 4000 + 8 * 30  # time constants of 4 ms pass in 30 ms
    np.testing.assert_allclose(heard[done:-45], -0.5 * ramp[done:-45], atol=2e-3)


def test_a_shorter_sound_is_followed_by_silence(page: Page) -> None:
    heard = run(
        page, "deck", DECK, sounds=[np.ones(2000), np.ones(8000)], levels=[1, 1], switches=[]
    )
    np.testing.assert_allclose(heard[45:2000], 1.0, atol=1e-6)
    np.testing.assert_allclose(heard[2000:], 0.0, atol=1e-6)


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "speecht5-16k", "styletts2-24k"])
def test_a_frequency_is_marked_at_the_band_that_hears_it(page: Page, name: str) -> None:
    config = PRESETS[name].config
    marks = run(page, "axes", "return m.melTicks(v.c, 40);", c=config.model_dump(mode="json"))
    centres = filterbank(config).argmax(1) * config.sample_rate / config.n_fft
    for share, text in marks:
        number, unit = text.split()
        band = share * config.n_mels - 0.5
        frequency = float(number) * (1000 if unit == "kHz" else 1)
        if 2 < band < config.n_mels - 1:
            expected = np.interp(band, np.arange(config.n_mels), centres)
            assert frequency == pytest.approx(expected, abs=config.sample_rate / config.n_fft)
    assert len(marks) > 4


def test_ticks_are_round_numbers(page: Page) -> None:
    assert run(page, "axes", "return m.ticks(0.93, 2.11, 5);") == [1, 1.5, 2]
    assert run(page, "axes", "return m.ticks(0, 4.16, 8);") == [0, 1, 2, 3, 4]


def test_results_are_kept_within_a_number_and_a_size(page: Page) -> None:
    kept = """
      const library = new m.Library();
      const made = [];
      for (const size of v.sizes) {
        const number = library.next;
        made.push({id: `result-${number}`, number, blob: {size}, mel: null, input: null});
        library.keep(made.at(-1), [made[0]]);
      }
      return library.results.map(({number}) => number);
    """
    # The first one is in use.
    assert run(page, "library", kept, sizes=[1] * 12) == [12, 11, 10, 9, 8, 7, 6, 1]
    assert run(page, "library", kept, sizes=[50 * 2**20] * 4) == [4, 1]
