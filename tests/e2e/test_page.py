"""The page in a real browser: a file in, audio that plays, pictures, and what a wrong mel hears."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import CONTRAST, with_browser
from tests.e2e.watched import CLIP, FILE, LONG, Watched, mel_file
from tests.service.live import TestEngine, live
from unmel.models.mel.presets import PRESETS

OPEN = "all => all.forEach(each => { each.open = true; })"

pytestmark = [pytest.mark.process, pytest.mark.loops, pytest.mark.slow]


@pytest.fixture
def opened(browser: Browser, url: str) -> Iterator[Watched]:
    watched = Watched(browser, url)
    yield watched
    watched.context.close()


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
    page.locator("#method-a [name=quality]").select_option("draft")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    opened.done()
    for name in ("Hear A, Original", "Hear B, Result 1"):
        button = page.get_by_role("button", name=name)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
    opened.assert_pictures(["spectrum-0", "mel-0", "spectrum-1", "mel-1", "difference"])
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
def test_two_results_stand_side_by_side_by_keyboard_alone(opened: Watched) -> None:
    page = opened.page
    page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
    page.get_by_label("Second result, for comparison").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "quality"
    page.locator("#method-b [name=method]").select_option("inversion=smooth")
    page.locator("#method-b [name=phase]").select_option("admm")
    page.locator("#method-b summary").click()
    page.locator("#method-b [name=n_iter]").fill("3")
    page.get_by_role("button", name="Reconstruct").focus()
    page.keyboard.press("Enter")
    opened.done()
    assert page.locator("article h3").all_inner_texts() == [
        "Result 1: standard",
        "Result 2: standard, smooth + admm, iterations 3",
    ]
    names = page.locator(".hear").evaluate_all("all => all.map(each => each.ariaLabel)")
    assert names == ["Hear A, Result 1", "Hear B, Result 2"]
    opened.assert_pictures(["spectrum-0", "mel-0", "spectrum-1", "mel-1", "input", "difference"])
    assert opened.faults == []


@with_browser
def test_a_wrong_mel_is_told_what_it_fits_and_one_press_mends_it(opened: Watched) -> None:
    page = opened.page
    page.get_by_label("Preset of the mel").select_option("bigvgan-24k")
    page.get_by_label(FILE).set_input_files(mel_file("whisper-80"))
    page.get_by_role("button", name="Reconstruct").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("mel: got shape 80x", timeout=LONG)
    expect(alert).to_contain_text("expected [100, frames]")
    assert page.locator("#results").is_hidden()
    assert page.get_by_role("button", name="Reconstruct").is_enabled()
    alert.get_by_role("button", name="Use whisper-80").click()
    opened.done()
    assert alert.inner_text() == ""
    assert page.get_by_role("button", name="Hear Result 1").is_visible()
    # The refusal itself is an error in the console; nothing else may be.
    assert all("422" in fault for fault in opened.faults)


@with_browser
def test_a_refused_option_is_told_beside_its_field(opened: Watched) -> None:
    page = opened.page
    page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
    page.locator("#method-a summary").click()
    field = page.locator("#method-a [name=n_iter]")
    field.fill("99999")
    page.locator("#method-a summary").click()  # folded, it opens for its fault
    page.get_by_role("button", name="Reconstruct").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    fault = page.locator("#method-a .fault")
    expect(fault).to_be_visible()
    expect(fault).to_contain_text("got 99999; expected ")
    assert field.get_attribute("aria-errormessage") == fault.get_attribute("id")
    expect(page.get_by_role("alert")).to_contain_text("Iterations: got 99999")
    field.fill("2")
    page.get_by_role("button", name="Reconstruct").click()
    opened.done()
    expect(page.locator(".fault, [aria-invalid]")).to_have_count(0)


@with_browser
def test_choices_are_the_services_own_and_only_what_differs_is_sent(
    browser: Browser, url: str
) -> None:
    context = browser.new_context()
    described = context.request.get(f"{url}/openapi.json").json()
    context.close()
    watched = Watched(browser, url)
    page = watched.page
    options = described["components"]["schemas"]["ReconstructJson"]["properties"]
    for name in ("quality", "harmonics", "fit"):
        control = page.locator(f"#method-a [name={name}]")
        values = control.locator("option").evaluate_all("all => all.map(each => each.value)")
        assert values == options[name]["enum"]
        assert control.input_value() == options[name]["default"]
    page.locator("#method-a summary").click()
    for name, value in (("harmonics", "off"), ("fit", "relaxed"), ("peak", "clip")):
        page.locator(f"#method-a [name={name}]").select_option(value)
    page.locator("#method-a [name=strict]").check()
    page.locator("#method-a [name=seed]").fill("7")
    watched.give(mel_file("hifigan-22k"))
    assert parse_qs(urlsplit(watched.posted[0]).query) == {
        "config": ["hifigan-22k"],
        "quality": ["draft"],
        "harmonics": ["off"],
        "fit": ["relaxed"],
        "seed": ["7"],
        "peak": ["clip"],
        "strict": ["true"],
    }
    watched.context.close()


@with_browser
def test_the_curl_line_quotes_what_a_shell_would_take_apart(opened: Watched) -> None:
    page = opened.page
    page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
    page.locator("#method-a [name=quality]").select_option("draft")
    page.get_by_role("button", name="Reconstruct").click()
    opened.done()
    assert r"--data-binary @'it'\''s a mel.npy'" in page.locator("article code").inner_text()


@with_browser
def test_the_curl_line_is_copied_where_plain_http_has_no_clipboard(
    browser: Browser, url: str
) -> None:
    script = """
      Object.defineProperty(navigator, "clipboard", {value: undefined});
      document.addEventListener("copy", () => { window.copied = String(getSelection()); });
    """
    watched = Watched(browser, url, script)
    watched.give(mel_file("hifigan-22k"))
    page = watched.page
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("window.copied") == page.locator("article code").inner_text()
    assert watched.faults == []
    watched.context.close()


@with_browser
def test_every_choice_is_explained_without_formulas_and_statuses(opened: Watched, url: str) -> None:
    page = opened.page
    page.get_by_text("What the choices mean").click()
    terms = page.locator("#explained dt").all_inner_texts()
    rows = page.request.get(f"{url}/methods").json()["methods"]
    methods = {row["name"]: row["summary"] for row in rows if row["kind"] != "start"}
    assert set(methods) <= set(terms)
    shown = page.locator("#method-a label").evaluate_all(
        "all => all.map(each => each.firstChild.textContent)"
    )
    assert set(shown) <= set(terms)
    meanings = page.locator("#explained dd").all_inner_texts()
    assert all(meanings)
    # The service's summaries are for those who know the papers.
    assert not set(meanings) & set(methods.values())
    assert not re.search(r"422|[\^<>`]", " ".join(meanings))


@with_browser
def test_long_work_shows_progress_and_can_be_stopped(browser: Browser) -> None:
    engine = TestEngine()
    with live(engine) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        engine.gate.clear()
        page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
        page.get_by_role("button", name="Reconstruct").click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(watched.status).to_contain_text("Result 1, standard: computing")
        assert 0.0 < page.get_by_role("progressbar").evaluate("bar => bar.value") < 1.0
        page.get_by_role("button", name="Stop").click()
        expect(watched.status).to_have_text("Stopped.")
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
        page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
        page.get_by_role("button", name="Reconstruct").click()
        expect(watched.status).to_contain_text(
            "Result 1, standard: waiting in the queue, 1 ahead", timeout=LONG
        )
        page.get_by_role("button", name="Stop").click()
        expect(watched.status).to_have_text("Stopped.")
        watched.context.close()


POSITIONS = [
    # what the service says, the bar's percent, what is announced, what is beside it
    (
        {"stage": "decode"},
        4,  # 5 of a hundred of eight parts in nine
        "Result 1, standard: decoding",
        "",
    ),
    (
        {"stage": "queue", "ahead": 2, "elapsed": 1.0, "remaining": 9.0, "measured": False},
        12,
        "Result 1, standard: waiting in the queue, 2 ahead",
        "about 9 s left, first guess",
    ),
    (
        {"stage": "compute", "ahead": 0, "elapsed": 5.0, "remaining": 4.6, "measured": True},
        46,
        "Result 1, standard: computing",
        "about 5 s left",
    ),
    (  # the estimate was mended: the bar stays
        {"stage": "compute", "ahead": 0, "elapsed": 6.0, "remaining": 44.0, "measured": True},
        46,
        "Result 1, standard: computing",
        "about 44 s left",
    ),
    (
        {"stage": "compute", "ahead": 0, "elapsed": 60.0, "remaining": 0.0, "measured": True},
        84,
        "Result 1, standard: computing",
        "longer than expected",
    ),
    ({"stage": "encode"}, 84, "Result 1, standard: encoding", ""),
]


@with_browser
def test_the_bar_moves_with_what_the_service_says_and_never_goes_back(browser: Browser) -> None:
    engine, now = TestEngine(), dict[str, Any]()
    with live(engine) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        page.route("**/progress/*", lambda route: route.fulfill(json=now))
        engine.gate.clear()
        page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
        now |= {"stage": "unknown"}
        page.get_by_role("button", name="Reconstruct").click()
        bar, status = page.get_by_role("progressbar"), watched.status
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
def test_two_results_share_one_bar(browser: Browser) -> None:
    engine = TestEngine()
    with live(engine) as service:
        watched = Watched(browser, service.url)
        page = watched.page
        page.get_by_label(FILE).set_input_files(mel_file("hifigan-22k"))
        page.get_by_label("Second result, for comparison").check()
        go_on = threading.Event()
        engine.faults[0] = lambda: len(engine.calls) == 1 or go_on.wait()
        page.get_by_role("button", name="Reconstruct").click()
        expect(watched.status).to_contain_text("Result 2", timeout=LONG)
        expect(page.get_by_role("progressbar")).to_have_attribute(
            "aria-valuetext",
            re.compile("^[5-9]. %, Result 2, standard, pinv [+] griffin_lim: computing"),
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
        # A link brings no key.
        expect(page.get_by_role("link", name="API documentation")).to_be_hidden()
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
    watched.give(CLIP)
    page.locator("details").evaluate_all(OPEN)
    page.get_by_role("button", name="Start a blind test").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("button", name="End the blind test").click()
    for contrast, text in page.evaluate(CONTRAST):
        assert contrast >= 4.5, text
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 250, 248)", "dark": "rgb(22, 20, 18)"}[scheme]
    watched.context.close()


@with_browser
def test_every_control_has_a_name_for_a_screen_reader(opened: Watched) -> None:
    opened.give(CLIP)
    opened.page.locator("details").evaluate_all(OPEN)
    controls = opened.page.locator("input, select, button, progress, canvas[role=img]")
    assert controls.count() > 40
    for control in controls.all():
        if control.is_visible():
            assert control.evaluate(
                "c => (c.labels?.length ?? 0) > 0 || c.ariaLabel || c.textContent.trim()"
            )
    assert opened.page.locator("html").get_attribute("lang") == "en"
