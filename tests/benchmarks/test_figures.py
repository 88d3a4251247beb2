"""The figures of the quality bench: which there are, means and errors, files of values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import figures, voices
from benchmarks.figures import FIGURES, Figure


def _absent() -> Figure:
    def nothing(*_: object) -> figures.Values:
        raise AssertionError

    return Figure(("x",), ("no_such_package_here",), "pip install x", nothing, nothing, nothing)


def test_a_figure_without_its_package_is_left_out_with_a_line_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FIGURES, "absent", _absent())
    assert figures.available(["absent", "pitch"]) == ["pitch"]
    assert capsys.readouterr().out == (
        "absent is left out: no no_such_package_here (pip install x)\n"
    )


def test_an_unknown_figure_is_named() -> None:
    with pytest.raises(SystemExit, match="no figures loudness; there are pesq"):
        figures.available(["loudness"])


def test_errors_are_those_of_clips_and_a_clip_without_a_value_does_not_count() -> None:
    values = np.array([[1.0, 4.0, np.nan], [2.0, np.nan, np.nan], [3.0, np.nan, np.nan]])
    mean, error = voices.mean_error(values)
    assert mean == pytest.approx([2.0, 4.0, np.nan], nan_ok=True)
    assert error == pytest.approx([1 / np.sqrt(3), np.nan, np.nan], nan_ok=True)


def test_written_values_are_read_back_and_a_shift_shows_as_the_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, file = ["pesq", "periodicity"], tmp_path / "values.csv"
    draw = np.random.default_rng(0)
    measured = {
        ("a", "hifigan-22k", quality): draw.normal(size=(3, 2, 3)) for quality in voices.QUALITIES
    }
    voices.write(measured, names, file)
    again = voices.read(names, file)
    assert again.keys() == measured.keys()
    for key, values in measured.items():
        assert again[key] == pytest.approx(values, abs=0)
    # A figure that the file lacks is read as unknown, not refused.
    assert np.isnan(voices.read(["pesq", "p808"], file)["a", "hifigan-22k", "high"][..., 1]).all()

    later = {key: values + np.array([0.5, 0.0, np.nan]) for key, values in measured.items()}
    voices.against_part(later, again, names)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "| *all* | *all* | high | +0.50 ± 0.00 | +0.000 ± 0.000 | – |"


def test_differences_are_taken_clip_by_clip(capsys: pytest.CaptureFixture[str]) -> None:
    """Clips that differ by far more than the qualities do leave the difference without error."""
    clips = np.array([1.0, 2.0, 4.0])[:, None, None]
    measured = {
        ("a", "p", quality): clips + gain
        for quality, gain in zip(voices.QUALITIES, (0.0, 0.1, 0.3), strict=True)
    }
    voices.differences_part(measured, ["pesq"])
    out = capsys.readouterr().out
    assert "| a | standard − draft | +0.10 ± 0.00 |" in out
    assert "| a | high − standard | +0.20 ± 0.00 |" in out


@pytest.mark.slow
def test_the_network_by_transforms_is_torchcrepes_own() -> None:
    pytest.importorskip("resampy")
    if figures.missing(FIGURES["periodicity"].packages):
        pytest.skip("torchcrepe is not installed: make bench-quality installs it")
    torch = pytest.importorskip("torch")
    from benchmarks import crepe  # noqa: PLC0415
    from benchmarks.optional import load  # noqa: PLC0415

    original = load("torchcrepe")
    audio = 0.1 * np.sin(np.arange(6000) * 0.08) + 0.01 * np.random.default_rng(0).normal(size=6000)
    wave = audio.astype(np.float32)
    with torch.inference_mode():
        _, expected = original.predict(
            torch.from_numpy(wave)[None],
            16000,
            fmin=50.0,
            fmax=550.0,
            return_periodicity=True,
            pad=False,
        )
    found, _ = crepe.periodicity(wave)
    assert found == pytest.approx(expected[0].numpy(), abs=1e-5)
