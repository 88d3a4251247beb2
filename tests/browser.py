"""Chromium for tests of pages: where it is, and what is asked of every page."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)

# CI installs a browser and says that the tests which need one may not be left out.
if BROWSER is None and os.environ.get("UNMEL_TEST_BROWSER") == "required":
    raise RuntimeError("UNMEL_TEST_BROWSER=required, and no Chromium is installed")
with_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const found = getComputedStyle(node).backgroundColor;
    return /, 0\\)$/.test(found) ? ground(node.parentElement) : found;
  };
  return [...document.querySelectorAll("p, h1, a, label, legend, button, code")].map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort();
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent.slice(0, 40)];
  });
}"""
