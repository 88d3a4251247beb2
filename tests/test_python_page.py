"""The blocks of docs/python.md run, one after the other, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.root import ROOT
from tests.signals import speech
from unmel.models.engine import Engine
from unmel.models.engine.analysis import analyze
from unmel.models.mel import preset

PAGE = (ROOT / "docs" / "python.md").read_text()


@pytest.mark.loops
def test_every_block_of_the_python_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = Engine().plans.get(preset("hifigan-22k").config)
    np.save("mel.npy", analyze(plan, speech(1.0)))
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102 - the page's own
    assert (tmp_path / "out.wav").stat().st_size > 22050
    assert "mel: got shape 40x" in capsys.readouterr().out
