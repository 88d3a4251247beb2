"""Listening on the page: two sounds in step, a part of them, the blind test, recent results."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Locator, Page, expect
from scipy.stats import binomtest

from tests.browser import with_browser
from tests.e2e.watched import CLIP, Watched, mel_file

pytestmark = [pytest.mark.process, pytest.mark.loops, pytest.mark.slow, with_browser]

SECONDS = 4.16  # of the clip

# The blind test draws one byte a trial; these are drawn in turn. Request ids draw sixteen.
DRAWN = [0, 1, 1, 0, 1, 0, 0]
DRAW = f"""
  const drawn = {DRAWN};
  const real = crypto.getRandomValues.bind(crypto);
  crypto.getRandomValues = (array) => array.length === 1 ? array.fill(drawn.shift()) : real(array);
"""


@pytest.fixture(scope="module")
def watched(browser: Browser, url: str) -> Iterator[Watched]:
    """A page with the example and a draft of it; tests leave it as they find it."""
    made = Watched(browser, url, DRAW, viewport={"width": 1200, "height": 900})
    made.page.locator("#method-a [name=quality]").select_option("draft")
    made.page.get_by_role("button", name="Use the example").click()
    made.done()
    yield made
    assert made.faults == []
    made.context.close()


@pytest.fixture
def page(watched: Watched) -> Iterator[Page]:
    page = watched.page
    page.locator("h1").click()  # no control has the focus
    yield page
    if page.get_by_role("button", name="Pause").is_visible():
        page.get_by_role("button", name="Pause").click()
    page.keyboard.press("Escape")


def part(page: Page) -> tuple[float, float]:
    begin, end = (float(page.locator(f"#{name}").input_value()) for name in ("from", "to"))
    return begin, end


def position(page: Page) -> float:
    return float(page.locator("#place").input_value())


def area(page: Page, name: str) -> Locator:
    return page.locator(f"figure[data-name={name}] .area")


def drag(page: Page, name: str, start: float, end: float) -> None:
    """Drag over a picture, between two shares of its width."""
    area(page, name).scroll_into_view_if_needed()
    box = area(page, name).bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], middle, steps=4)
    page.mouse.up()


def assert_whole(page: Page) -> None:
    assert part(page) == pytest.approx((0, SECONDS), abs=0.02)


def test_original_and_result_are_drawn_over_one_time_in_one_scale(page: Page) -> None:
    texts = []
    for name in ("spectrum-0", "spectrum-1"):
        label = page.locator(f"figure[data-name={name}] canvas").get_attribute("aria-label") or ""
        texts.append(label.split(": ", 1))
    assert [title for title, _ in texts] == [
        "Spectrogram of A, Original",
        "Spectrogram of B, Result 1",
    ]
    assert texts[0][1] == texts[1][1]
    assert "0 to 11.03 kHz, colours from -110 to -20 dB" in texts[0][1]
    axes = page.locator(".across:visible").all_inner_texts()
    assert len(set(axes)) == 1
    boxes = [area(page, name).bounding_box() for name in ("spectrum-0", "spectrum-1")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert (boxes[0]["x"], boxes[0]["width"]) == (boxes[1]["x"], boxes[1]["width"])


def test_the_mel_ends_where_the_spectrogram_shows_that_the_result_does(page: Page) -> None:
    """hifigan-22k's bands end at 8 kHz: the original has sound above, the result has none."""
    black = """canvas => {
      const {width, height} = canvas;
      const data = canvas.getContext('2d').getImageData(0, 0, width, height / 8).data;
      return data.filter((value, k) => k % 4 === 0 && value > 30).length / (data.length / 4);
    }"""
    above = [area(page, f"spectrum-{k}").locator("canvas").evaluate(black) for k in (0, 1)]
    assert above[0] > 0.1
    assert above[1] < 0.01


def test_a_drag_chooses_a_part_for_all_pictures_and_the_player(page: Page) -> None:
    drag(page, "spectrum-1", 0.5, 0.25)  # backwards too
    assert part(page) == pytest.approx((SECONDS / 4, SECONDS / 2), abs=0.02)
    span = "{:.2f} to {:.2f} s".format(*part(page))
    for name in ("spectrum-0", "mel-0", "spectrum-1", "mel-1"):
        expect(area(page, name).locator("canvas")).to_have_attribute("aria-label", re.compile(span))
    assert position(page) == pytest.approx(SECONDS / 4, abs=0.02)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    for _ in range(20):
        assert SECONDS / 4 - 0.02 <= position(page) <= SECONDS / 2 + 0.02
    drag(page, "mel-0", 0.5, 1.0)  # a part of the part
    assert part(page) == pytest.approx((3 * SECONDS / 8, SECONDS / 2), abs=0.03)
    area(page, "mel-0").dblclick()
    assert_whole(page)


def test_a_loop_goes_on_without_a_gap(page: Page) -> None:
    """Its next round is scheduled, for the instant at which this one ends, before it ends."""
    page.evaluate(
        """() => {
          window.starts = [];
          const start = AudioBufferSourceNode.prototype.start;
          AudioBufferSourceNode.prototype.start = function (...given) {
            window.starts.push(given);
            return start.apply(this, given);
          };
        }"""
    )
    page.get_by_label("Part from").fill("1")
    page.get_by_label("Part from").press("Enter")
    page.get_by_label("to", exact=True).fill("1.5")
    page.get_by_label("to", exact=True).press("Enter")
    page.get_by_label("Hear A").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    (first, begin, length), _, (second, again, whole), _ = page.evaluate("window.starts")[:4]
    assert (begin, length, again, whole) == (1, 0.5, 1, 0.5)  # two sounds each
    assert second == pytest.approx(first + length)
    page.get_by_label("Loop").uncheck()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert position(page) == pytest.approx(1, abs=0.02)
    page.get_by_label("Loop").check()


def test_a_part_is_chosen_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("Part from").fill("1.5")
    page.get_by_label("Part from").press("Enter")
    page.get_by_label("to", exact=True).fill("2.5")
    page.get_by_label("to", exact=True).press("Enter")
    assert part(page) == (1.5, 2.5)
    page.keyboard.press("Escape")
    assert_whole(page)
    page.locator("h1").click()
    for key in ("ArrowRight", "ArrowRight", "["):
        page.keyboard.press(key)
    begin = part(page)[0]
    assert begin > 0.9
    page.keyboard.press("ArrowRight")
    page.keyboard.press("]")
    assert part(page) == pytest.approx((begin, begin + 0.5), abs=0.02)
    page.get_by_role("button", name="Whole").click()
    assert_whole(page)


def test_a_click_in_a_picture_goes_there(page: Page) -> None:
    area(page, "spectrum-0").click()
    assert position(page) == pytest.approx(SECONDS / 2, abs=0.03)
    cursor = page.locator("figure[data-name=mel-1] .cursor")
    assert cursor.evaluate("each => parseFloat(each.style.left)") == pytest.approx(50, abs=1)


def test_a_switch_goes_on_at_the_same_place_and_is_told(page: Page) -> None:
    first, second = page.get_by_label("Hear A"), page.get_by_label("Hear B")
    page.keyboard.press("a")
    expect(first).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => document.getElementById('place').value > 0.3")
    before = position(page)
    page.keyboard.press("b")
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(first).to_have_attribute("aria-pressed", "false")
    assert page.locator("#heard").inner_text() == "B is heard."
    assert before <= position(page) < SECONDS
    page.keyboard.press("s")
    expect(first).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    stopped = position(page)
    assert stopped >= before
    page.keyboard.press("Space")
    page.wait_for_function("place => document.getElementById('place').value > place", arg=stopped)


def test_keys_can_be_left_out(page: Page) -> None:
    page.get_by_text("Keys", exact=True).click()
    page.get_by_label("Use these keys").uncheck()
    page.locator("h1").click()
    page.keyboard.press("b")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.get_by_label("Use these keys").check()
    page.get_by_text("Keys", exact=True).click()


def test_loudness_is_told_and_can_be_left_as_it_is(page: Page) -> None:
    levels = page.locator("#levels")
    found = re.findall(r"−(\d+\.\d) LUFS, played at ([+−]\d+\.\d) dB", levels.inner_text())
    # Both end at one level.
    ends = [-float(lufs) + float(gain.replace("−", "-")) for lufs, gain in found]
    assert ends == pytest.approx([-23, -23], abs=0.11)
    assert "ITU-R BS.1770-4, made equal" in levels.inner_text()
    page.get_by_label("Same loudness").uncheck()
    expect(levels).to_contain_text("left as it is")
    assert levels.inner_text().count("played at +0.0 dB") == 2
    page.get_by_label("Same loudness").check()


def test_the_blind_test_hides_what_is_which_and_counts(page: Page) -> None:
    page.get_by_role("button", name="Start a blind test").click()
    for hidden in ("#seen", "#answers", "#levels", "#slot-0", "#slot-1"):
        expect(page.locator(hidden)).to_be_hidden()
    told = page.locator("#told")
    right = 0
    for count, drawn in enumerate(DRAWN[:4], 1):
        vote = page.get_by_role("button", name="X is the original")
        expect(vote).to_be_disabled()
        page.keyboard.press("1")  # not before both were heard
        page.keyboard.press("x")
        expect(page.get_by_label("Hear X")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("y")
        expect(page.get_by_label("Hear Y")).to_have_attribute("aria-pressed", "true")
        names = page.locator(".hear").evaluate_all("all => all.map(each => each.ariaLabel)")
        assert names == ["Hear X", "Hear Y"]
        expect(vote).to_be_enabled()
        page.keyboard.press("1")
        right += drawn == 0
        verdict = "Wrong." if drawn else "Right."
        p = binomtest(right, count).pvalue
        expect(told).to_contain_text(
            f"{verdict} {right} right, {count - right} wrong; p = {p:.3f}."
        )
        expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.get_by_role("button", name="End the blind test").click()
    expect(page.locator("#seen")).to_be_visible()
    expect(page.get_by_label("Hear A, Original")).to_be_visible()


HEARD = """() => {
  const start = AudioBufferSourceNode.prototype.start;
  window.heard = [];
  AudioBufferSourceNode.prototype.start = function (...given) {
    window.heard.push([...this.buffer.getChannelData(0)]);
    if (window.heard.length === 2) AudioBufferSourceNode.prototype.start = start;
    return start.apply(this, given);
  };
}"""


def test_the_original_is_not_known_by_what_it_has_above_the_mel(page: Page) -> None:
    """hifigan-22k's bands end at 8 kHz."""

    def above(k: int) -> float:
        wave = np.array(page.evaluate("window.heard")[k])
        power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
        rate = page.evaluate("new AudioContext().sampleRate")
        frequencies = np.fft.rfftfreq(len(wave), 1 / rate)
        return float(10 * np.log10(power[frequencies > 8000].sum() / power.sum()))

    band = page.get_by_label("Blind test only up to 8 kHz")
    for chosen, words in (
        (True, "Both are heard up to 8 kHz, where the mel ends."),
        (False, "What is above 8 kHz, where the mel ends, is in the original alone"),
    ):
        band.set_checked(chosen)
        page.get_by_role("button", name="Start a blind test").click()
        expect(page.locator("#limited")).to_contain_text(words)
        expect(band).to_be_disabled()
        page.evaluate(HEARD)
        page.keyboard.press("x")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        assert [above(k) < -70 for k in (0, 1)] == [chosen, True]
        page.get_by_role("button", name="End the blind test").click()
    band.check()


def test_results_of_this_tab_come_back_and_are_compared(browser: Browser, url: str) -> None:
    watched = Watched(browser, url)
    page = watched.page
    watched.give(mel_file("hifigan-22k"))
    watched.give(CLIP)
    watched.give(CLIP, "standard")
    lines = page.get_by_role("region", name="Recent results").get_by_role("listitem")
    texts = lines.locator("span").all_inner_texts()
    for text, start in zip(
        texts,
        (
            "Result 3: standard; clip.wav, hifigan-22k, ",
            "Result 2: draft; clip.wav, hifigan-22k, ",
            "Result 1: draft; it's a mel.npy, hifigan-22k, ",
        ),
        strict=True,
    ):
        assert text.startswith(start)
    page.get_by_role("button", name="Bring back Result 2").click()
    expect(page.get_by_label("Hear B, Result 2")).to_be_focused()
    expect(page.get_by_label("Hear A, Original")).to_be_visible()
    page.get_by_role("button", name="Result 3 as A").click()
    expect(page.get_by_label("Hear A, Result 3")).to_be_visible()
    watched.assert_pictures(["spectrum-0", "mel-0", "spectrum-1", "mel-1", "input", "difference"])
    assert page.locator("article h3").all_inner_texts() == ["Result 3: standard", "Result 2: draft"]
    # Two results without an original in a blind test.
    page.get_by_role("button", name="Start a blind test").click()
    expect(page.get_by_role("group", name="Which is Result 3, X or Y?")).to_be_visible()
    page.get_by_role("button", name="Bring back Result 1").click()
    expect(page.get_by_label("Hear B, Result 1")).to_be_visible()
    expect(page.locator("#blind")).to_be_hidden()
    page.get_by_label("Sound B").select_option(label="Original (clip.wav)")
    expect(page.get_by_label("Hear B, Original")).to_be_visible()
    assert watched.faults == []
    watched.context.close()


def test_a_worker_that_does_not_start_is_told_and_nothing_waits_for_it(
    browser: Browser, url: str
) -> None:
    watched = Watched(browser, url)
    page = watched.page
    page.route("**/spectrum_worker.js", lambda route: route.abort())
    page.locator("#method-a [name=quality]").select_option("draft")
    page.get_by_role("button", name="Use the example").click()
    expect(page.get_by_role("alert")).to_have_text("This browser failed to analyse the sound.")
    expect(page.get_by_role("button", name="Reconstruct")).to_be_enabled()
    watched.context.close()


def test_a_file_that_the_browser_cannot_play_is_told(browser: Browser, url: str) -> None:
    """An AIFF file, which libsndfile reads and Chromium does not."""
    stream = io.BytesIO()
    soundfile.write(stream, *soundfile.read(CLIP), format="AIFF")
    watched = Watched(browser, url)
    watched.give({"name": "clip.aiff", "mimeType": "audio/aiff", "buffer": stream.getvalue()})
    page = watched.page
    expect(page.get_by_role("alert")).to_have_text("This browser cannot play clip.aiff.")
    expect(page.get_by_label("Hear Result 1")).to_be_visible()
    assert watched.faults == []
    watched.context.close()
