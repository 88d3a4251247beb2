"""Which presets a refused mel would fit: as an answer to whoever sent it with the wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unmel.models.errors import Invalid
from unmel.models.mel.config import MelConfig
from unmel.models.mel.presets import PRESETS
from unmel.models.mel.validate import Layout, check_mel, heaviest_band

# Speech in its right config: the loudest value of a clip, dB of what full scale can give; then how
# far below it nine tenths and one half of the values lie. The bundled clip's own in most presets;
# a wrong logarithm or other moments stretch or shift them by tens of dB.
_PEAK, _LOUD_TENTH, _MEDIAN = -23.0, -22.0, -52.0
_UNIT = 20.0
# Presets further from speech than the best by this many units are not named.
_MARGIN = 1.2
_MOST_NAMED = 8
_MOST_FRAMES = 4096


def presets_that_fit(
    config: MelConfig, mel: NDArray[Any], layout: Layout = "auto"
) -> tuple[str, ...]:
    """Names of the presets whose bands and levels `mel` fits, likeliest first; few or none.

    Among equals those of the geometry of `config`, which it was sent with, come first; of presets
    that share one config the first is named.
    """
    longest = max(mel.shape, default=0)
    step = -(-longest // _MOST_FRAMES)
    if step > 1:  # no config has as many bands: the axis is the frames
        mel = mel.take(range(0, longest, step), axis=mel.shape.index(longest))
    found = []
    looked_at = {config}
    for name, row in PRESETS.items():
        if row.config in looked_at:
            continue
        looked_at.add(row.config)
        try:
            checked = check_mel(row.config, mel, layout)
        except Invalid:
            continue
        if not checked.warnings:
            foreign = _geometry(row.config) != _geometry(config)
            found.append((_distance(row.config, checked.values), foreign, name))
    best = min((distance for distance, *_ in found), default=0.0)
    near = [(round(d, 1), foreign, name) for d, foreign, name in found if d <= best + _MARGIN]
    near.sort(key=lambda row: row[:2])  # stable: the table's order within
    return tuple(name for *_, name in near[:_MOST_NAMED])


def _geometry(config: MelConfig) -> tuple[int, int, int]:
    return config.sample_rate, config.n_fft, config.hop_length


def _distance(config: MelConfig, values: NDArray[np.float32]) -> float:
    """How unlike speech the values `[T, K]` are if they are of that config."""
    linear = config.decompress(torch.tensor(values, dtype=torch.float64)).numpy()
    full = config.loudest_magnitude**config.power * heaviest_band(config)
    levels = np.quantile(linear, [1.0, 0.9, 0.5])
    peak, loud, median = 20.0 / config.power * np.log10(np.maximum(levels, 1e-30) / full)
    apart = abs(peak - _PEAK) + abs(loud - peak - _LOUD_TENTH) + abs(median - peak - _MEDIAN)
    return float(apart / _UNIT)
