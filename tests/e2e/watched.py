"""The service's page in a browser, watched: the hosts that it asks, and its console's faults."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from tests.root import ROOT
from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS

CLIP = ROOT / "examples" / "clip.wav"
FILE = "Input: a mel (.npy) or an audio file"
LONG = 60_000  # ms that a step may take on a busy machine

COLOURS = """canvas => {
  const {width, height} = canvas;
  const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
  return seen.size;
}"""


class Watched:
    """A page, the hosts it asked, the paths it posted to, and every fault of its console."""

    def __init__(self, browser: Browser, url: str, script: str = "", **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(LONG)
        if script:
            self.page.add_init_script(script)
        self.hosts: set[str] = set()
        self.posted: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self._note(request.method, request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.faults.append(message.text) if message.type == "error" else None,
        )
        self.page.goto(url)
        self.ready()

    def _note(self, method: str, url: str) -> None:
        if not url.startswith("blob:"):
            self.hosts.add(urlsplit(url).netloc)
        if method == "POST":
            self.posted.append(url)

    def ready(self) -> None:
        expect(self.page.locator("#preset option")).to_have_count(len(PRESETS), timeout=LONG)

    @property
    def status(self) -> Locator:
        return self.page.locator("#status")

    def done(self) -> None:
        expect(self.status).to_have_text("Done.", timeout=LONG)

    def give(self, file: Any, quality: str = "draft") -> None:
        """Reconstruct from a file."""
        self.page.get_by_label(FILE).set_input_files(file)
        self.page.locator("#method-a [name=quality]").select_option(quality)
        self.page.get_by_role("button", name="Reconstruct").click()
        self.done()

    def assert_pictures(self, names: list[str]) -> None:
        """These pictures are seen, with many colours, axes, and words for who sees none."""
        figures = self.page.locator("figure:visible")
        expect(figures).to_have_count(len(names))
        assert [figure.get_attribute("data-name") for figure in figures.all()] == names
        for figure in figures.all():
            picture = figure.locator("canvas")
            assert picture.evaluate(COLOURS) > 50
            assert "." in (picture.get_attribute("aria-label") or "")
            assert figure.locator(".across span").first.inner_text() == "0 s"
            assert "kHz" in figure.locator(".up").inner_text()


def mel_file(preset: str, seconds: float = 0.5) -> FilePayload:
    config = PRESETS[preset].config
    stream = io.BytesIO()
    mel = analyze(Engine().plans.get(config), voice(seconds, config.sample_rate))
    np.save(stream, mel)
    return {"name": "it's a mel.npy", "mimeType": "", "buffer": stream.getvalue()}
