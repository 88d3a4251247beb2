"""Statistics of levels: the same figures as by numpy's own functions."""

from __future__ import annotations

import numpy as np
import pytest

from unmel.models.mel.statistics import quantiles

SHARES = (0.0, 0.05, 0.25, 0.5, 0.9, 0.99, 1.0)


@pytest.mark.parametrize("count", [1, 2, 3, 20, 21, 400, 17_641])
def test_quantiles_are_those_of_numpy_to_the_bit(count: int) -> None:
    values = np.random.default_rng(count).normal(-60.0, 20.0, count).astype(np.float32)
    values[:: max(count // 7, 1)] = -100.0  # a floor
    assert quantiles(values, *SHARES) == np.quantile(values, SHARES).tolist()
