"""The page of the blind test in a real browser, from a file: keys, sound, answers, figures."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.listen import Pair, write_test
from tests.browser import CONTRAST, with_browser
from tests.signals import voice

pytestmark = [pytest.mark.process, pytest.mark.slow, with_browser]

RATE = 22050
OTHER = {"a": "b", "b": "a"}
ANSWER = {"a": "1", "b": "2"}


@pytest.fixture(scope="module")
def key() -> list[str]:
    """Filled by `folder`."""
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, key: list[str]) -> Path:
    """A test of six pairs: two presets, two voices, one with a name that CSV quotes."""
    out = tmp_path_factory.mktemp("listen")
    pairs = []
    for clip in range(6):
        wave = voice(0.5, RATE, clip)
        name = 'a "low", calm one' if clip % 2 else "plain"
        preset = "hifigan-22k" if clip < 3 else "vocos-24k"
        pairs.append(Pair(name, clip, preset, "standard", 0, RATE, wave, -wave))
    key += write_test(pairs, out, 0)
    return out


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 320, "height": 700})
    yield made
    made.close()


LOUD_SOON = """wanted => new Promise((done) => {
  let frames = 600;
  const look = () => {
    const off = playing.gains.some(({gain}, k) => Math.abs(gain.value - wanted[k]) > 0.01);
    if (!off || !frames--) done(!off); else requestAnimationFrame(look);
  };
  look();
})"""


def opened(context: BrowserContext, folder: Path) -> tuple[Page, list[str]]:
    """The page, and every fault and request beyond its own file."""
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    file = (folder / "index.html").as_uri()
    page.on("request", lambda request: request.url == file or faults.append(request.url))
    page.goto(file)
    return page, faults


def hear_both(page: Page) -> None:
    for side in "ab":
        page.keyboard.press(side)
        expect(page.get_by_role("button", name=f"Play {side.upper()}")).to_have_attribute(
            "aria-pressed", "true"
        )
        # What is switched off before it sounds was not heard.
        expect(page.get_by_label("Position")).not_to_have_value("0")
    expect(page.get_by_role("button", name="A is the original")).to_be_enabled()


def test_the_keyboard_alone_answers_every_pair_and_the_results_count_right(
    context: BrowserContext, folder: Path, key: list[str], tmp_path: Path
) -> None:
    page, faults = opened(context, folder)
    given = [OTHER[k] if n == 2 else k for n, k in enumerate(key)]
    for number, side in enumerate(given, 1):
        expect(page.get_by_role("heading", level=2)).to_have_text(f"Pair {number} of 6")
        page.keyboard.press(ANSWER[side])  # not taken: nothing was heard
        hear_both(page)
        page.keyboard.press(ANSWER[side])
    expect(page.get_by_role("heading", level=2)).to_have_text("Results")
    expect(page.locator("#summary")).to_have_text(
        "5 of 6 right: 83 % (95 % interval 44 to 97 %), p = 0.219."
    )
    names = page.get_by_role("rowheader").all_inner_texts()
    assert names == [
        "all",
        "hifigan-22k, standard",
        "vocos-24k, standard",
        'voice a "low", calm one',
        "voice plain",
    ]
    with page.expect_download() as loading:
        page.get_by_role("button", name="Download CSV").click()
    loading.value.save_as(tmp_path / "listen.csv")
    with (tmp_path / "listen.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["answer"] for row in rows] == given
    assert [row["original"] for row in rows] == key
    assert [row["right"] for row in rows] == ["1", "1", "0", "1", "1", "1"]
    assert {row["voice"] for row in rows} == {"plain", 'a "low", calm one'}
    assert faults == []


def test_a_switch_goes_on_at_the_same_place_and_space_pauses(
    context: BrowserContext, folder: Path
) -> None:
    page, faults = opened(context, folder)
    a, b = (page.get_by_role("button", name=f"Play {side}") for side in "AB")
    page.keyboard.press("Space")
    expect(a).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Position")).not_to_have_value("0")
    # One clock and two gains: a switch changes neither sources nor their start.
    before = page.evaluate("[playing.began, playing.sources[0].buffer.length]")
    page.keyboard.press("b")
    expect(b).to_have_attribute("aria-pressed", "true")
    expect(a).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("[playing.began, playing.sources[1].buffer.length]") == before
    assert page.evaluate(LOUD_SOON, [0, 1])
    page.keyboard.press("Space")
    expect(b).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("playing") is None
    place = page.evaluate("place")
    page.keyboard.press("a")
    expect(a).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("context.currentTime >= playing.began + place")
    assert page.evaluate("place") == place
    page.get_by_label("Loop").uncheck()
    expect(a).to_have_attribute("aria-pressed", "false")  # it ends
    expect(page.get_by_label("Position")).to_have_value("0")
    assert faults == []


def test_each_side_plays_its_own_file(context: BrowserContext, folder: Path) -> None:
    page, _ = opened(context, folder)
    page.keyboard.press("b")
    expect(page.get_by_label("Position")).not_to_have_value("0")
    assert page.evaluate(LOUD_SOON, [0, 1])
    for index, side in enumerate("ab"):
        wave, rate = soundfile.read(folder / f"pair-001-{side}.wav")
        own, samples = page.evaluate(f"""[playing.sources[{index}].buffer.sampleRate,
            [...playing.sources[{index}].buffer.getChannelData(0)]]""")
        times = np.arange(len(wave)) / rate
        played = np.interp(times, np.arange(len(samples)) / own, samples)
        assert np.corrcoef(wave, played)[0, 1] > 0.95  # the ends are faded, the rate is another


def test_answers_survive_a_reload_and_nothing_is_told_before_the_end(
    context: BrowserContext, folder: Path, key: list[str]
) -> None:
    page, faults = opened(context, folder)
    hear_both(page)
    page.get_by_role("button", name=f"{key[0].upper()} is the original").click()
    page.reload()
    expect(page.get_by_role("heading", level=2)).to_have_text("Pair 2 of 6")
    assert not re.search(r"right:|%", page.locator("body").inner_text())
    page.get_by_role("button", name="Finish here").click()
    expect(page.locator("#summary")).to_contain_text("1 of 1 right")
    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("Pair 1 of 6")
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_fits_a_phone_and_every_control_has_a_name(
    browser: Browser, folder: Path, scheme: Any
) -> None:
    made = browser.new_context(color_scheme=scheme, viewport={"width": 320, "height": 700})
    page, _ = opened(made, folder)
    hear_both(page)
    for step in range(2):
        for contrast, text in page.evaluate(CONTRAST):
            assert contrast >= 4.5, text
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for control in page.locator("input:visible, button:visible, progress:visible").all():
            assert control.evaluate(
                "c => (c.labels?.length ?? 0) > 0 || c.ariaLabel || c.textContent.trim()"
            )
        if step == 0:
            page.keyboard.press("1")
            page.get_by_role("button", name="Finish here").click()
    made.close()


def test_intervals_and_p_are_scipys(context: BrowserContext, folder: Path) -> None:
    stats = pytest.importorskip("scipy.stats")
    page, _ = opened(context, folder)
    for right, count in [(0, 1), (1, 1), (8, 16), (12, 16), (3, 16), (16, 16), (1100, 2000)]:
        test = stats.binomtest(right, count)
        interval = test.proportion_ci(method="wilson")
        found = page.evaluate(f"[...wilson({right}, {count}), chance({right}, {count})]")
        assert found == pytest.approx(
            [interval.low, interval.high, test.pvalue], rel=1e-9, abs=1e-12
        )
