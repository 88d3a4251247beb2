"""The check of a GPU, part by part on a pretended one: its own faults are found without a card."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import benchmarks.gpu.agreement
import unmel.models.engine.choose
from benchmarks.gpu import __main__ as driver
from benchmarks.gpu.agreement import bits, card, loops
from benchmarks.gpu.check import PRESET, Check
from benchmarks.gpu.moved import iteration_bytes
from benchmarks.gpu.quality import quality
from benchmarks.gpu.service import service
from benchmarks.gpu.speed import speed
from benchmarks.gpu.streams import streams
from tests.models.pretend import PretendedCuda
from unmel.models.mel.presets import PRESETS
from unmel.models.signal.plan import build_plan

CLIPS = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.loops, pytest.mark.slow]


class Unready:
    """Loops of a device that has none."""

    def wait(self, device: torch.device) -> None:
        pass


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """A check of a card that is not there, whose name and memory are made up."""
    cuda = {
        "is_available": lambda: True,
        "synchronize": lambda: None,
        "Stream": lambda _: None,
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda _: None,
        "max_memory_allocated": lambda _: 0,
        "get_device_name": lambda _: "Card",
        "get_device_properties": lambda _: SimpleNamespace(total_memory=2**33),
    }
    for name, value in cuda.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(unmel.models.engine.choose, "DEVICE_LOOPS", Unready())
    monkeypatch.setattr(benchmarks.gpu.agreement, "DEVICE_LOOPS", Unready())
    return Check(torch.device("cuda"), CLIPS, tmp_path, small=True)


def rows(text: str) -> list[list[str]]:
    """Cells of a table's rows."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_a_card_is_named_with_its_memory_and_bandwidth(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    with PretendedCuda():
        card(check)
    assert re.match(r"Card, 8 GiB, torch \S+: copies \d+ GB/s", capsys.readouterr().out)


def test_backends_are_held_to_float64_and_kernels_that_do_not_work_fail_the_part(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    with PretendedCuda(), pytest.raises(SystemExit, match=r"WRONG: no kernel of Triton's works$"):
        loops(check)
    [[preset, far]] = rows(capsys.readouterr().out)
    assert (preset, float(far) < 1e-4) == (PRESET, True)


def test_bits_are_compared_again_and_alone(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    with PretendedCuda():
        bits(check)
    found = rows(capsys.readouterr().out)
    assert [row[:2] for row in found] == [["torch", "draft"], ["torch", "standard"]]
    assert {cell for row in found for cell in row[2:]} == {"6 of 6"}


def test_audio_is_kept_for_whoever_scores_it(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    with PretendedCuda():
        quality(check)
    assert sorted(file.stem for file in check.out.iterdir()) == ["draft", "high", "standard"]
    assert f"--score {check.out}" in capsys.readouterr().out


def test_packs_are_timed_by_one_lane_and_two(
    check: Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The pretended device is this thread's alone.
    monkeypatch.setattr("benchmarks.gpu.speed.together", lambda *_: 0.5)
    with PretendedCuda():
        speed(check)
    found = rows(capsys.readouterr().out)
    assert [row[:2] for row in found] == [
        [name, count] for name in ("draft", "standard") for count in ("1", "8")
    ]


def test_sessions_are_stepped_together(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    with PretendedCuda():
        streams(check)
    assert len(rows(capsys.readouterr().out)) == 4


@pytest.mark.process
def test_a_service_is_loaded_and_keeps_few_plans(
    check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    service(check)
    printed = capsys.readouterr().out
    assert {row[-1].partition(":")[0] for row in rows(printed)} == {"200"}
    assert (
        "4 presets twice with 1 MiB for plans: [200, 200, 200, 200, 200, 200, 200, 200]" in printed
    )


@pytest.mark.process
def test_a_part_runs_in_a_process_of_its_own_and_a_slow_one_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(driver.PARTS, "bits", (bits, 0))
    arguments = ["--small", "--device", "cpu", "--data", str(CLIPS)]
    monkeypatch.setattr(sys, "argv", ["check", "--parts", "bits,card", *arguments])
    with pytest.raises(SystemExit):
        driver.main()
    printed = capfd.readouterr().out
    assert "bits: stopped after 0 s\ncard: ok" in printed
    assert "no GPU: torch" in printed


def test_an_iterations_bytes_are_those_of_its_arrays() -> None:
    plan = build_plan(PRESETS["hifigan-22k"].config, torch.device("cpu"))
    row, hop, points, bins, held, bands = 1, 256, 1024, 513, plan.bands.count, 80
    frames, spectrum = torch.empty(row, points), torch.empty(row, bins, dtype=torch.complex64)
    behind, target = torch.empty(row, held, dtype=torch.complex64), torch.empty(row, bands)
    bound, inside = torch.empty(row, bands, dtype=torch.bool), spectrum[:, plan.bands.inside]
    signal = torch.empty(row, hop)
    touched = [
        *(signal, frames),  # cut
        *(frames, spectrum),  # transformed
        *(inside, behind, target, bound, spectrum, behind),  # corrected
        *(spectrum, frames),  # transformed back
        *(frames, signal, signal),  # added; the other signal is the envelope
    ]
    assert iteration_bytes(plan) == sum(t.numel() * t.element_size() for t in touched)
