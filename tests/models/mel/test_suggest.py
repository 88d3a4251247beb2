"""A mel that was sent with the wrong preset is answered with the right one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.signals import voice
from unmel.models.engine.analysis import analyze
from unmel.models.engine.engine import Engine
from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.suggest import presets_that_fit
from unmel.models.mel.validate import check_mel

ENGINE = Engine()
# No preset makes as many frames of 0.9 s as another has bands: the layout is never ambiguous.
MELS = {
    name: analyze(ENGINE.plans.get(row.config), voice(0.9, row.config.sample_rate))
    for name, row in PRESETS.items()
}


def mistakes() -> dict[tuple[str, str], tuple[str, ...]]:
    """By a mel's preset and a wrong preset of each scale: the suggested presets."""
    found = {}
    for sent, mel in MELS.items():
        kinds = set()
        for wrong, row in PRESETS.items():
            kind = (row.config.scale.kind, row.config.n_mels == PRESETS[sent].config.n_mels)
            if kind in kinds:
                continue
            try:
                check_mel(row.config, mel)
            except Invalid:
                kinds.add(kind)
                found[sent, wrong] = presets_that_fit(row.config, mel)
    return found


MISTAKES = mistakes()


def test_the_right_config_is_named_wherever_a_wrong_one_refuses() -> None:
    """The right preset, or one whose mel of the same clip has the same values."""
    assert {sent for sent, _ in MISTAKES} == set(PRESETS)
    for (sent, wrong), fits in MISTAKES.items():
        same = {
            name
            for name, mel in MELS.items()
            if mel.shape == MELS[sent].shape and np.allclose(mel, MELS[sent], atol=0.05)
        }
        assert same & set(fits), (sent, wrong, fits)
        assert wrong not in fits


def test_the_first_named_is_of_the_right_scale() -> None:
    for (sent, wrong), fits in MISTAKES.items():
        first = PRESETS[fits[0]].config
        assert first.scale.kind == PRESETS[sent].config.scale.kind, (sent, wrong)
        assert first.n_mels == PRESETS[sent].config.n_mels, (sent, wrong)


def test_the_right_config_is_named_where_none_was_given() -> None:
    for sent, mel in MELS.items():
        fits = presets_that_fit(None, mel)
        assert any(
            MELS[name].shape == mel.shape and np.allclose(MELS[name], mel, atol=0.05)
            for name in fits
        ), (sent, fits)


def test_frames_first_and_long_mels_get_suggestions() -> None:
    long = np.tile(MELS["whisper-80"], (1, 100))
    assert long.shape[1] > 4096
    for mel in (long, long.T.copy(), long[None]):
        assert presets_that_fit(PRESETS["vocos-24k"].config, mel)[0] == "whisper-80"


@pytest.mark.parametrize(
    "mel",
    [
        np.full((80, 9), np.nan),
        np.full((80, 9), 1e4),
        np.zeros((81, 9)),
        np.zeros(()),
        np.zeros((0, 0)),
    ],
)
def test_where_nothing_fits_nothing_is_named(mel: np.ndarray) -> None:
    assert presets_that_fit(PRESETS["vocos-24k"].config, mel) == ()
