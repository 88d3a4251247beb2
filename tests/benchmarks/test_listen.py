"""The blind test for ears: what its pairs are like, and what its folder holds."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks.listen import SIDES, Pair, low_passed, make_pairs, same_level, write_test
from tests.signals import tone, voice
from unmel.models.engine.engine import Engine
from unmel.models.mel.presets import PRESETS
from unmel.service.wire.levels import loudness

RATE = 22050


def pair(clip: int, name: str = "a voice") -> Pair:
    """Two sounds that are told apart by their signs."""
    wave = voice(0.1, RATE, clip)
    return Pair(name, clip, "hifigan-22k", "standard", 0, RATE, wave, -wave)


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page)
    assert found
    read: dict[str, Any] = json.loads(found[1])
    return read


@pytest.mark.parametrize("preset", ["hifigan-22k", "tf-16k"])
def test_a_pair_has_one_length_and_one_loudness_and_few_clips_come_again(preset: str) -> None:
    clips = [(voice(0.9, 24000), 24000), (0.1 * voice(0.61234, 24000, 1), 24000)]
    names: Any = ("v", preset, "draft")
    found = make_pairs(Engine(backend="torch"), clips, names, count=3, seconds=0.7, seed=5)
    assert [(p.clip, p.seed) for p in found] == [(0, 5), (1, 5), (0, 6)]
    rate = PRESETS[preset].config.sample_rate
    for p in found:
        assert p.rate == rate
        assert len(p.original) == len(p.result) <= round(0.7 * rate)
        assert len(p.original) > 0.5 * rate
        levels = [loudness(wave, rate) for wave in (p.original, p.result)]
        assert levels[0] == pytest.approx(levels[1], abs=0.05)
        assert np.abs([p.original, p.result]).max() < 1.0
    assert not np.array_equal(found[0].result, found[2].result)


def test_what_would_clip_lowers_both() -> None:
    clicks = np.zeros(RATE, np.float32)
    clicks[::4000] = 1.0
    quiet, loud = same_level(0.01 * tone(500.0, 1.0), clicks, RATE)
    assert np.abs(loud).max() == pytest.approx(1.0, abs=1e-3)
    assert loudness(quiet, RATE) == pytest.approx(loudness(loud, RATE), abs=0.05)


def test_silence_stays_silence() -> None:
    silence = np.zeros(RATE, np.float32)
    assert not np.any(same_level(silence, silence, RATE))


def test_an_original_can_lose_what_its_mel_does_not_hold() -> None:
    both = tone(500.0) + tone(10000.0)
    inside = slice(1000, -1000)
    assert low_passed(both, RATE, 8000.0)[inside] == pytest.approx(tone(500.0)[inside], abs=2e-3)
    assert low_passed(both, RATE, RATE / 2) is both


def test_a_clip_without_a_frame_is_named() -> None:
    clips = [(voice(0.5), RATE), (voice(0.01), RATE)]
    with pytest.raises(SystemExit, match="clip 1 of v is shorter than a frame of hifigan-22k"):
        make_pairs(
            Engine(backend="torch"), clips, ("v", "hifigan-22k", "draft"), count=2, seconds=1.0
        )


def test_the_key_says_which_file_is_the_original_and_no_name_or_size_does(tmp_path: Path) -> None:
    pairs = [pair(clip) for clip in range(12)]
    key = write_test(pairs, tmp_path, 3)
    assert set(key) == set(SIDES)
    page = data((tmp_path / "index.html").read_text())
    assert json.loads(base64.b64decode(page["key"])) == key
    assert sorted(row["clip"] for row in page["pairs"]) == list(range(12))
    for number, (original, row) in enumerate(zip(key, page["pairs"], strict=True), 1):
        for side in SIDES:
            file = tmp_path / f"pair-{number:03}-{side}.wav"
            wave, _ = soundfile.read(file, dtype="float32")
            sign = 1 if side == original else -1
            assert wave == pytest.approx(sign * voice(0.1, RATE, row["clip"]), abs=2**-15)
            assert base64.b64decode(row[side]) == file.read_bytes()
    assert len({file.stat().st_size for file in tmp_path.glob("*.wav")}) == 1
    assert len(list(tmp_path.iterdir())) == 2 * 12 + 1


def test_the_seed_draws_order_and_sides_and_the_same_seed_the_same(tmp_path: Path) -> None:
    pairs = [pair(clip) for clip in range(12)]
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    keys = [write_test(pairs, out, seed) for out, seed in ((first, 0), (again, 0), (other, 1))]
    assert keys[0] == keys[1] != keys[2]
    pages = [(out / "index.html").read_text() for out in (first, again, other)]
    assert pages[0] == pages[1]
    orders = [[row["clip"] for row in data(page)["pairs"]] for page in pages]
    assert orders[0] != orders[2]
    assert orders[0] != list(range(12))


def test_pairs_of_a_longer_test_before_are_gone(tmp_path: Path) -> None:
    write_test([pair(0), pair(1)], tmp_path, 0)
    write_test([pair(0)], tmp_path, 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "index.html",
        "pair-001-a.wav",
        "pair-001-b.wav",
    ]


def test_the_page_asks_no_host_and_a_voice_cannot_break_it(tmp_path: Path) -> None:
    name = '</script>{{script}} "quoted" Łódź'
    write_test([replace(pair(0), voice=name)], tmp_path, 0)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert data(page)["pairs"][0]["voice"] == name
    assert "default-src 'none'" in page
    assert not re.search(
        r"https?:|//\w|\b(src|href)=|url\(|@import|fetch\(", page.split("<body>")[0]
    )
    code = page.split("<body>")[1].replace(json.dumps(data(page)["pairs"]), "")
    assert not re.search(r"https?:|\b(src|href)=|url\(|fetch\(|XMLHttpRequest", code)
