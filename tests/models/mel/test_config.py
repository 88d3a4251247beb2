"""MelConfig: defaults, bounds and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.peers import extract
from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig

BASE: dict[str, Any] = {
    "sample_rate": 22050,
    "n_fft": 1024,
    "hop_length": 256,
    "n_mels": 80,
    "scale": "ln",
}


def test_defaults_follow_from_the_given_fields() -> None:
    made = MelConfig(**BASE)
    assert (made.win_length, made.fmax, made.filterbank_rate) == (1024, 11025.0, 22050)


def test_equal_configs_are_one_cache_key_and_cannot_be_changed() -> None:
    a, b = MelConfig(**BASE), MelConfig(**BASE, win_length=1024, fmax=11025)
    assert a == b
    assert hash(a) == hash(b)
    with pytest.raises(ValidationError, match="frozen"):
        a.n_mels = 3  # type: ignore[misc] # the point of the test


def test_a_whole_number_and_the_float_of_it_are_one_power() -> None:
    a, b = MelConfig(**BASE, power=1), MelConfig(**BASE, power=1.0)
    assert len({a, b, MelConfig(**BASE)}) == 1
    assert a.model_dump_json() == b.model_dump_json() == MelConfig(**BASE).model_dump_json()
    assert MelConfig(**BASE, power=1.3) not in {a, b}


def test_mean_and_std_per_band_are_hashable() -> None:
    made = MelConfig(**BASE, mean=[0.5] * 80, std=[2.0] * 80)
    assert len({made, MelConfig(**BASE, mean=[0.5] * 80, std=[2.0] * 80)}) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sample_rate": 999}, "greater than or equal to 1000"),
        ({"n_fft": 8}, "greater than or equal to 32"),
        ({"n_fft": 32768}, "less than or equal to 16384"),
        ({"hop_length": 0}, "greater than or equal to 1"),
        ({"n_mels": 0}, "greater than or equal to 1"),
        ({"win_length": 2048}, "win_length\n  got 2048; expected at most n_fft, 1024"),
        ({"fmin": 9000, "fmax": 8000}, "fmin\n  got 9000; expected less than fmax, 8000"),
        ({"fmin": 12000, "fmax": 15000}, "half the filterbank's rate"),
        ({"fmin": float("nan")}, "fmin\n  Input should be less than"),
        ({"power": 3}, "less than or equal to 2"),
        ({"power": 0.4}, "greater than or equal to 0.5"),
        ({"power": float("nan")}, "finite number"),
        ({"window": "kaiser"}, "'hann', 'hann_symmetric', 'hamming'"),
        ({"scale": "log2"}, "scale\n  got 'log2'; expected one of linear, ln"),
        ({"window_place": "end"}, "'center' or 'start'"),
        ({"padding": "valid"}, "'center_reflect', 'center_constant', 'hifigan' or 'none'"),
        ({"preemphasis": 1.0}, "less than 1"),
        ({"preemphasis": -0.1}, "greater than or equal to 0"),
        ({"preemphasis": float("nan")}, "finite number"),
        ({"scale": {"kind": "ln", "clip": 0}}, "log\\(0\\) is possible"),
        ({"mean": [0.0, 1.0]}, "mean\n  got 2 values; expected one number, or 80"),
        ({"std": 0.0}, "greater than"),
        ({"drop_last": True, "padding": "hifigan"}, "drop_last\n  got true; .* centred padding"),
        ({"colour": "blue"}, "colour\n  got an unknown member; expected one of sample_rate"),
        ({"win_length": 256, "padding": "hifigan"}, "no window covers"),
        ({"hop_length": 1024}, "no window covers"),
        ({"hop_length": 16384}, "no window covers"),
        ({"hop_length": 1}, "hop_length\n  got 1; .*win_length / 64"),
        ({"scale": "log"}, "scale\n  got 'log'; expected 'ln', the natural logarithm, or 'log10'"),
        ({"scale": {"kind": "dB"}}, "one of|'db'"),
        ({"scale": {"clip": 1}}, "scale.kind\n  got nothing; expected one of linear, ln"),
        ({"hop_length": 1, "n_fft": 16384}, "hop_length\n  got 1; .*win_length / 64"),
        ({"drop_last": True, "padding": "none"}, "centred padding"),
        ({"hop_length": 1000, "padding": "none"}, "no window covers"),
        ({"hop_length": 1024, "window": "rectangular"}, "share no sample"),
        ({"hop_length": 1024, "window": "rectangular", "padding": "none"}, "share no sample"),
        ({"hop_length": 1025, "window": "rectangular", "padding": "none"}, "no window covers"),
        (
            {"hop_length": 512, "win_length": 500, "window_place": "start", "padding": "hifigan"},
            "hop_length\n  got 512; expected at most the frame's 500 samples",
        ),
        ({"win_length": 2, "hop_length": 1, "window": "hann_symmetric"}, "no window covers"),
        ({"scale": {"kind": "ln", "clip": 1e-50}}, "log\\(0\\) is possible"),
        ({"scale": {"kind": "ln", "clip": 0, "offset": 1e-40}}, "log\\(0\\) is possible"),
        ({"scale": {"kind": "db", "floor": 1e-60}}, "scale.db.floor"),
        ({f"x{n}": n for n in range(100)}, "at most 64 members"),
        ({"scale": {"kind": "ln", **{f"x{n}": n for n in range(100)}}}, "at most 64 members"),
        ({"mean": [0.0] * 5000}, "at most 1024 items"),
    ],
)
def test_an_impossible_config_is_refused_with_its_reason(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        MelConfig(**{**BASE, **change})


GEOMETRIES = st.fixed_dictionaries(
    {
        "n_fft": st.sampled_from([64, 63, 96, 128, 200]),
        "short": st.integers(0, 5),
        "window_place": st.sampled_from(["center", "start"]),
        "window": st.sampled_from(["hann", "rectangular"]),
        "hop_length": st.integers(5, 28),
        "padding": st.sampled_from(["center_reflect", "center_constant", "hifigan", "none"]),
        "drop_last": st.booleans(),
    }
)


def geometry(fields: dict[str, Any]) -> MelConfig:
    fields = {**fields, "win_length": fields["n_fft"] - fields["short"]}
    fields["drop_last"] = fields["drop_last"] and fields["padding"].startswith("center")
    del fields["short"]
    return MelConfig(sample_rate=8000, n_mels=4, scale="linear", **fields)


@settings(max_examples=60, deadline=None)
@given(fields=GEOMETRIES, samples=st.integers(200, 400))
def test_frames_equals_librosas_number_of_frames(fields: dict[str, Any], samples: int) -> None:
    made = geometry(fields)
    wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    assert made.frames(samples) == extract(made, wave).values.shape[1]


@settings(max_examples=200, deadline=None)
@given(fields=GEOMETRIES, frames=st.integers(1, 300))
def test_every_length_in_the_range_and_no_other_gives_those_frames(
    fields: dict[str, Any], frames: int
) -> None:
    made = geometry(fields)
    lowest, highest = made.sample_range(frames)
    assert lowest <= made.samples(frames) <= highest
    assert made.frames(lowest) == made.frames(highest) == frames
    assert made.frames(highest + 1) == frames + 1
    assert lowest == 1 or made.frames(lowest - 1) == frames - 1


@pytest.mark.parametrize(
    ("fields", "frames", "samples"),
    [
        ({"padding": "hifigan"}, 1, 256),
        ({"padding": "hifigan"}, 100, 25600),
        ({}, 100, 99 * 256),
        ({}, 1, 128),
        ({"padding": "center_constant"}, 7, 6 * 256),
        ({"drop_last": True}, 100, 25600),
        ({"drop_last": True}, 1, 256),
        ({"padding": "none"}, 1, 1024),
        ({"padding": "none"}, 100, 99 * 256 + 1024),
        ({"padding": "none", "win_length": 800}, 7, 6 * 256 + 1024),
        ({"padding": "none", "win_length": 800, "window_place": "start"}, 7, 6 * 256 + 800),
        ({"win_length": 801, "window_place": "start"}, 7, 6 * 256 + 1),
        ({"win_length": 800, "window_place": "start", "padding": "hifigan"}, 7, 7 * 256),
    ],
)
def test_the_default_length_in_each_convention(
    fields: dict[str, Any], frames: int, samples: int
) -> None:
    assert MelConfig(**BASE, **fields).samples(frames) == samples


def test_an_impossible_length_is_refused_with_the_possible_ones() -> None:
    made = MelConfig(**BASE)
    assert made.length_for(10, 2400) == 2400
    with pytest.raises(Invalid, match="2304 to 2559 samples for 10 frames"):
        made.length_for(10, 2560)


@settings(max_examples=300, deadline=None)
@given(fields=GEOMETRIES)
def test_an_octaves_first_window_begins_at_the_same_instant(fields: dict[str, Any]) -> None:
    made = geometry(fields)
    for _ in range(made.octaves):
        half = made.halved(4)
        names = "n_fft", "hop_length", "win_length", "lead"
        assert [2 * getattr(half, name) for name in names] == [getattr(made, n) for n in names]
        np.testing.assert_allclose(half.window_values(), made.window_values()[::2], atol=1e-12)
        made = half


@pytest.mark.parametrize("win_length", [400, 399])
def test_without_padding_a_short_window_leaves_samples_that_it_does_not_reach(
    win_length: int,
) -> None:
    made = MelConfig(
        **{**BASE, "n_fft": 512, "hop_length": 128}, win_length=win_length, padding="none"
    )
    assert (made.lead, made.first, made.unreached) == (-56, 0, 56)
    placed = made.model_copy(update={"window_place": "start"})
    assert (placed.lead, placed.first, placed.unreached) == (0, 0, 0)


@pytest.mark.parametrize(
    ("window", "hop_length"), [("hann", 160), ("rectangular", 399), ("hamming", 300)]
)
def test_without_padding_only_what_lies_between_the_edges_must_be_covered(
    window: str, hop_length: int
) -> None:
    fields = {**BASE, "n_fft": 512, "hop_length": hop_length, "window": window}
    assert MelConfig(**fields, win_length=400, padding="none").least_envelope() > 0.1
