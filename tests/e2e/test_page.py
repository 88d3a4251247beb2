"""The page in a real browser: a file in, audio that plays, pictures, and what a wrong mel hears."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import CONTRAST, with_browser
from tests.root import ROOT
from tests.service.live import TestEngine, live
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS

pytestmark = [pytest.mark.process, pytest.mark.loops, pytest.mark.slow]

CLIP = ROOT / "examples" / "clip.wav"
LONG = 60_000  # ms that a step may take on a busy machine


class Watched:
    """A page, the hosts it asked, and every fault that its console showed."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(LONG)
        self.hosts: set[str] = set()
        self.faults: list[str] = []
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.faults.append(message.text) if message.type == "error" else None,
        )
        self.page.goto(url)
        self.ready()

    def _note(self, url: str) -> None:
        if not url.startswith("blob:"):
            self.hosts.add(urlsplit(url).netloc)

    def ready(self) -> None:
        expect(self.page.locator("#preset option")).to_have_count(len(PRESETS), timeout=LONG)

    def done(self) -> None:
        expect(self.page.get_by_role("status")).to_have_text("Done.", timeout=LONG)


@pytest.fixture
def opened(browser: Browser, url: str) -> Iterator[Watched]:
    watched = Watched(browser, url)
    yield watched
    watched.context.close()


def mel_file(preset: str, seconds: float = 0.5) -> dict[str, Any]:
    config = PRESETS[preset].config
    stream = io.BytesIO()
    mel = analyze(Engine().plans.get(config), voice(seconds, config.sample_rate))
    np.save(stream, mel)
    return {"name": "it's a mel.npy", "mimeType": "", "buffer": stream.getvalue()}


COLOURS = """canvas => {
  const {width, height} = canvas;
  const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
  return seen.size;
}"""


def assert_pictures(page: Page, count: int) -> None:
    """Every picture has many colours, and words for who does not see them."""
    pictures = page.locator("canvas")
    assert pictures.count() == count
    for picture in pictures.all():
        assert picture.evaluate(COLOURS) > 50
        assert "." in (picture.get_attribute("aria-label") or "")


def assert_plays(page: Page, label: str) -> None:
    player = page.get_by_label(label, exact=True)
    player.evaluate("audio => audio.play()")
    page.wait_for_function(
        "name => document.querySelector(`audio[aria-label='${name}']`).currentTime > 0.05",
        arg=label,
    )
    assert player.evaluate("audio => audio.duration") > 0.4


@with_browser
def test_a_dropped_audio_file_is_heard_and_seen_beside_the_original(
    opened: Watched, url: str
) -> None:
    page = opened.page
    transfer = page.evaluate_handle(
        """bytes => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "clip.wav", {type: "audio/wav"}));
          return transfer;
        }""",
        list(CLIP.read_bytes()),
    )
    page.locator("#method-a [name=method]").select_option("quality=draft")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    opened.done()
    assert_plays(page, "Result A")
    assert_plays(page, "Original")
    assert_pictures(page, 3)
    times = page.get_by_role("table", name="Times")
    assert times.get_by_role("rowheader").all_inner_texts() == [
        "decode",
        "queue",
        "compute",
        "encode",
    ]
    curl = page.locator("article code").inner_text()
    assert curl.splitlines()[0].endswith(
        f"-F 'audio=@clip.wav' -F config=hifigan-22k {url}/analyze -o mel.npy"
    )
    assert f"'{url}/reconstruct?config=hifigan-22k&quality=draft'" in curl
    assert opened.hosts == {urlsplit(url).netloc}
    assert opened.faults == []


@with_browser
def test_two_methods_stand_side_by_side_by_keyboard_alone(opened: Watched) -> None:
    page = opened.page
    page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
    page.get_by_label("Method B, for comparison").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "method"
    page.locator("#method-b [name=method]").select_option("inversion=smooth")
    page.locator("#method-b [name=phase]").select_option("admm")
    page.locator("#method-b [name=n_iter]").fill("3")
    page.get_by_role("button", name="Reconstruct").focus()
    page.keyboard.press("Enter")
    opened.done()
    assert page.locator("article h3").all_inner_texts() == [
        "Input",
        "A: standard",
        "B: smooth + admm + 3",
    ]
    assert page.get_by_label("Original").is_hidden()
    assert_plays(page, "Result A")
    assert_plays(page, "Result B")
    assert_pictures(page, 5)
    assert opened.faults == []


@with_browser
def test_a_wrong_mel_is_told_what_it_fits_and_one_press_mends_it(opened: Watched) -> None:
    page = opened.page
    page.get_by_label("Config").select_option("bigvgan-24k")
    page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("whisper-80"))
    page.get_by_role("button", name="Reconstruct").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("mel: got shape 80x", timeout=LONG)
    expect(alert).to_contain_text("expected [100, frames]")
    assert page.locator("#results").is_hidden()
    assert page.get_by_role("button", name="Reconstruct").is_enabled()
    alert.get_by_role("button", name="Use whisper-80").click()
    opened.done()
    assert alert.inner_text() == ""
    assert_plays(page, "Result A")
    # The refusal itself is an error in the console; nothing else may be.
    assert all("422" in fault for fault in opened.faults)


@with_browser
def test_the_curl_line_quotes_what_a_shell_would_take_apart(opened: Watched) -> None:
    page = opened.page
    page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
    page.locator("#method-a [name=method]").select_option("quality=draft")
    page.get_by_role("button", name="Reconstruct").click()
    opened.done()
    assert r"--data-binary @'it'\''s a mel.npy'" in page.locator("article code").inner_text()


@with_browser
def test_long_work_shows_progress_and_can_be_stopped(browser: Browser) -> None:
    engine = TestEngine()
    with live(engine) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        engine.gate.clear()
        page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
        page.get_by_role("button", name="Reconstruct").click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("Method A, standard: computing")
        assert 0.0 < page.get_by_role("progressbar").evaluate("bar => bar.value") < 1.0
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("status")).to_have_text("Stopped.")
        expect(page.get_by_role("progressbar")).to_be_hidden()
        assert page.get_by_role("button", name="Reconstruct").is_enabled()
        engine.gate.set()
        watched.context.close()


@with_browser
def test_a_request_in_the_queue_is_said_to_wait_there(browser: Browser) -> None:
    with live(TestEngine()) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        service.busy(waiting=(2,))
        page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
        page.get_by_role("button", name="Reconstruct").click()
        expect(page.get_by_role("status")).to_contain_text(
            "Method A, standard: waiting in the queue, 1 ahead", timeout=LONG
        )
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("status")).to_have_text("Stopped.")
        watched.context.close()


POSITIONS = [
    # what the service says, the bar's percent, what is announced, what is beside it
    (
        {"stage": "decode"},
        4,  # 5 of a hundred of eight parts in nine
        "Method A, standard: decoding",
        "",
    ),
    (
        {"stage": "queue", "ahead": 2, "elapsed": 1.0, "remaining": 9.0, "measured": False},
        12,
        "Method A, standard: waiting in the queue, 2 ahead",
        "about 9 s left, first guess",
    ),
    (
        {"stage": "compute", "ahead": 0, "elapsed": 5.0, "remaining": 4.6, "measured": True},
        46,
        "Method A, standard: computing",
        "about 5 s left",
    ),
    (  # the estimate was mended: the bar stays
        {"stage": "compute", "ahead": 0, "elapsed": 6.0, "remaining": 44.0, "measured": True},
        46,
        "Method A, standard: computing",
        "about 44 s left",
    ),
    (
        {"stage": "compute", "ahead": 0, "elapsed": 60.0, "remaining": 0.0, "measured": True},
        84,
        "Method A, standard: computing",
        "longer than expected",
    ),
    ({"stage": "encode"}, 84, "Method A, standard: encoding", ""),
]


@with_browser
def test_the_bar_moves_with_what_the_service_says_and_never_goes_back(browser: Browser) -> None:
    engine, now = TestEngine(), dict[str, Any]()
    with live(engine) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        page.route("**/progress/*", lambda route: route.fulfill(json=now))
        engine.gate.clear()
        page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
        now |= {"stage": "unknown"}
        page.get_by_role("button", name="Reconstruct").click()
        bar, status = page.get_by_role("progressbar"), page.get_by_role("status")
        for position, percent, announced, beside in POSITIONS:
            now |= position
            words = f"{percent} %, {announced}" + (f", {beside}" if beside else "")
            expect(bar).to_have_attribute("aria-valuetext", words)
            assert int(100 * bar.evaluate("bar => bar.value")) == percent
            hidden = status.locator("[aria-hidden=true]")
            assert hidden.inner_text() == (f"({beside})" if beside else "")
            assert status.inner_text().removesuffix(hidden.inner_text()).strip() == announced
        engine.gate.set()
        watched.done()
        assert watched.faults == []
        watched.context.close()


@with_browser
def test_two_methods_share_one_bar(browser: Browser) -> None:
    engine = TestEngine()
    with live(engine) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
        page.get_by_label("Method B, for comparison").check()
        go_on = threading.Event()
        engine.faults[0] = lambda: len(engine.calls) == 1 or go_on.wait()
        page.get_by_role("button", name="Reconstruct").click()
        expect(page.get_by_role("status")).to_contain_text("Method B", timeout=LONG)
        expect(page.get_by_role("progressbar")).to_have_attribute(
            "aria-valuetext", re.compile("^[5-9]. %, Method B, pinv [+] griffin_lim: computing")
        )
        go_on.set()
        watched.done()
        watched.context.close()


@with_browser
def test_a_service_with_keys_asks_for_one(browser: Browser) -> None:
    key = "k" * 16
    with live(TestEngine(), api_keys=key) as service:
        context = browser.new_context()
        page = context.new_page()
        page.goto(service.url)
        field = page.get_by_label("API key")
        expect(field).to_be_visible()
        expect(page.get_by_role("alert")).to_have_text("An API key is required.")
        field.fill(key)
        field.press("Tab")
        expect(page.locator("#preset option")).to_have_count(len(PRESETS))
        expect(page.get_by_role("alert")).to_have_text("")
        context.close()


@with_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_fits_a_phone_in_both_schemes(
    browser: Browser, url: str, scheme: Any
) -> None:
    """WCAG 2.1, 1.4.3 and 1.4.10: a contrast of 4.5 to 1, no scrolling sideways at 320 pixels."""
    watched = Watched(browser, url, color_scheme=scheme, viewport={"width": 320, "height": 700})
    page = watched.page
    page.get_by_label("A mel (.npy) or an audio file").set_input_files(mel_file("hifigan-22k"))
    page.locator("#method-a [name=method]").select_option("quality=draft")
    page.get_by_role("button", name="Reconstruct").click()
    watched.done()
    for contrast, text in page.evaluate(CONTRAST):
        assert contrast >= 4.5, text
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 248)", "dark": "rgb(22, 20, 18)"}[scheme]
    watched.context.close()


@with_browser
def test_every_control_has_a_name_for_a_screen_reader(opened: Watched) -> None:
    controls = opened.page.locator("input, select, button, audio, progress, canvas[role=img]")
    for control in controls.all():
        if control.is_visible():
            assert control.evaluate(
                "c => (c.labels?.length ?? 0) > 0 || c.ariaLabel || c.textContent.trim()"
            )
    assert opened.page.locator("html").get_attribute("lang") == "en"
