"""Pre-emphasis and its inverse: scipy's filters, in any number of parts, and exact silence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from unmel.models.signal.emphasis import deemphasize, emphasize

WAVE = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.95, 0.97, 0.9999, 1.0 - 2.0**-20])
def test_both_filters_are_scipys_and_undo_each_other(coefficient: float) -> None:
    theirs = lfilter([1.0, -coefficient], [1.0], WAVE.astype(np.float64))
    np.testing.assert_allclose(emphasize(WAVE, coefficient), theirs, atol=1e-12)
    whole = lfilter([1.0], [1.0, -coefficient], WAVE.astype(np.float64))
    ours = deemphasize(WAVE, coefficient)
    np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-12 * np.abs(whole).max())
    back = emphasize(ours.astype(np.float32), coefficient)
    np.testing.assert_allclose(back, WAVE, atol=1e-6 * np.abs(whole).max())


def test_the_inverse_goes_on_from_its_last_sample() -> None:
    whole, last, parts = deemphasize(WAVE, 0.97), 0.0, []
    for part in np.split(WAVE, [1, 2, 300, 301, 70_000]):
        parts.append(deemphasize(part, 0.97, last))
        last = float(parts[-1][-1])
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-11)


def test_silence_is_exact_silence_and_nothing_is_nothing() -> None:
    assert not deemphasize(np.zeros(100_000, np.float32), 0.97).any()
    assert len(deemphasize(WAVE[:0], 0.97)) == len(emphasize(WAVE[:0], 0.97)) == 0


def test_the_first_sample_is_kept_as_python_speech_features_and_nemo_keep_it() -> None:
    assert emphasize(np.array([0.5, 0.5], np.float32), 0.5).tolist() == [0.5, 0.25]
