"""Filterbanks that are no preset's: in order and out of it, wide, with holes, empty in places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import filterbank
from unmel.models.mel.presets import PRESETS

Bank = NDArray[np.float64]

HIFIGAN = PRESETS["hifigan-22k"].config
MELS = filterbank(HIFIGAN)
_HZ = np.arange(HIFIGAN.n_bins) * HIFIGAN.sample_rate / HIFIGAN.n_fft
_DERIVED = {"filterbank", "fmin", "fmax", "mel_scale", "norm", "triangles", "filterbank_rate"}


def gammatone(bands: int) -> Bank:
    """Power responses of fourth-order gammatone filters: every bin lies in every band."""
    low, high = (21.4 * np.log10(1 + 0.00437 * hz) for hz in (50.0, 10_000.0))
    centres = ((10 ** (np.linspace(low, high, bands) / 21.4) - 1) / 0.00437)[:, None]
    widths = 1.019 * 24.7 * (4.37 * centres / 1000 + 1)
    return np.asarray((1 + ((_HZ - centres) / widths) ** 2) ** -4.0)


def wide(bands: int = 40) -> Bank:
    """Triangles of six steps: a bin lies in five or six bands."""
    centres = np.linspace(0, HIFIGAN.n_bins, bands)[:, None]
    reach = 3.0 * HIFIGAN.n_bins / bands
    return np.maximum(0.0, 1.0 - np.abs(np.arange(HIFIGAN.n_bins) - centres) / reach)


def holed() -> Bank:
    """The middle of some bands left out, where their neighbours still reach."""
    bank = MELS.copy()
    for k in range(40, 80, 5):
        held = np.flatnonzero(bank[k])
        bank[k, held[len(held) // 3]] = 0.0
    return bank


def sparse() -> Bank:
    """Two bands far apart as one, between bands without a bin."""
    bank = np.zeros((12, HIFIGAN.n_bins))
    bank[1], bank[5], bank[9] = MELS[3] + MELS[70], MELS[40], MELS[41] + MELS[39]
    return bank


IN_ORDER: dict[str, Bank] = {
    "a preset's own": MELS,
    "a preset's in float32": MELS.astype(np.float32).astype(np.float64),
    "one band": np.ones((1, HIFIGAN.n_bins)),
    "steps without overlap": np.repeat(np.eye(19), 27, axis=1),
    "some empty": np.where(np.arange(80)[:, None] % 7 == 3, 0.0, MELS),
}
"""Bands are runs that rise: they have tables and octaves."""
OUT_OF_ORDER: dict[str, Bank] = {
    "shuffled": MELS[np.random.default_rng(0).permutation(80)],
    "falling": MELS[::-1],
    "gammatone": gammatone(64),
    "wide": wide(),
    "holed": holed(),
    "sparse": sparse(),
}


def config_of(bank: Bank, **changes: object) -> MelConfig:
    """HiFi-GAN's config with another filterbank."""
    kept = {name: value for name, value in HIFIGAN.model_dump().items() if name not in _DERIVED}
    return MelConfig.model_validate({**kept, "n_mels": len(bank), "filterbank": bank, **changes})
