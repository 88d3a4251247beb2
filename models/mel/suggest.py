"""Presets that a refused mel would fit, as a hint to the client."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.layout import Layout
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.statistics import full_scale_levels, sampled_levels
from unmel.models.mel.symptoms import other_floor, wrong_range
from unmel.models.mel.validate import check_mel, none_negative

# Levels of speech in its right config, dB: the loudest value relative to full scale, then the upper
# tenth and the median relative to the loudest. They are the bundled clip's in most presets; a wrong
# logarithm, mean or standard deviation stretches or shifts them by tens of dB.
_PEAK_DB, _UPPER_TENTH_DB, _MEDIAN_DB = -23.0, -22.0, -52.0
# Presets further from speech than the best one by this many dB are left out.
_MARGIN_DB, _ROUNDING_DB = 24.0, 2.0
_MAX_NAMES = 8
_MAX_FRAMES = 4096


def presets_that_fit(
    config: MelConfig | None, mel: NDArray[Any], layout: Layout = "auto"
) -> tuple[str, ...]:
    """Names of the presets that a mel fits, likeliest first.

    Among equals presets of the refused config's geometry come first; of presets with equal
    configs only the first is named.

    Parameters
    ----------
    config
        The config that the mel was refused for; None where there is none.
    mel
        The client's array, `[K, T]`, `[T, K]` or `[1, K, T]`.
    layout
        As in `check_mel`.

    Returns
    -------
    tuple of str
        At most eight names; none where no preset accepts the mel without a warning.

    Examples
    --------
    A natural logarithm in the range of speech, sent with a config of 128 bands:

    >>> mel = np.linspace(-11.0, 1.0, 80 * 90, dtype=np.float32).reshape(80, 90)
    >>> presets_that_fit(PRESETS["whisper-128"].config, mel)[:2]
    ('tacotron2-22k', 'hifigan-22k')
    """
    longest = max(mel.shape, default=0)
    step = -(-longest // _MAX_FRAMES)
    if step > 1:  # no config has as many bands: the axis is the frames
        mel = mel.take(range(0, longest, step), axis=mel.shape.index(longest))
    candidates = []
    seen = {config}
    geometry = None if config is None else _geometry(config)
    for name, row in PRESETS.items():
        if row.config in seen:
            continue
        seen.add(row.config)
        try:
            checked = check_mel(row.config, mel, layout)
        except Invalid:
            continue
        if not checked.warnings and not _is_foreign(row.config, checked.values):
            foreign = _geometry(row.config) != geometry
            candidates.append((_distance(row.config, checked.values), foreign, name))
    best = min((distance for distance, *_ in candidates), default=0.0)
    near = [
        (round(distance / _ROUNDING_DB), foreign, name)
        for distance, foreign, name in candidates
        if distance <= best + _MARGIN_DB
    ]
    near.sort(key=lambda row: row[:2])  # stable: equals stay in the table's order
    return tuple(name for *_, name in near[:_MAX_NAMES])


def _is_foreign(config: MelConfig, values: NDArray[np.float32]) -> bool:
    """Whether values `[T, K]` have the sign, the bounds or the floor of another scale."""
    return (
        none_negative(config, values)
        or wrong_range(config, values) is not None
        or other_floor(config, sampled_levels(config, values)) is not None
    )


def _geometry(config: MelConfig) -> tuple[int, int, int]:
    return config.sample_rate, config.n_fft, config.hop_length


def _distance(config: MelConfig, values: NDArray[np.float32]) -> float:
    """Distance in dB of values `[T, K]` of a config from the levels of speech."""
    linear = config.decompress(torch.tensor(values, dtype=torch.float64)).numpy()
    loudest = (linear / full_scale_levels(config)).max()
    # The others of what was stored: undoing an emphasis would spread any values.
    levels = np.append(loudest, np.quantile(linear, [1.0, 0.9, 0.5]))
    peak, most, tenth, median = 20.0 / config.power * np.log10(np.maximum(levels, 1e-30))
    distances = peak - _PEAK_DB, tenth - most - _UPPER_TENTH_DB, median - most - _MEDIAN_DB
    return float(np.abs(distances).sum())
