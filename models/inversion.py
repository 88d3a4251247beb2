"""Mel to linear magnitude in one step: the first half of the two-stage methods.

Every function takes the pack, a packed linear mel `[rows, K]` of the config's power and its own
parameters by name, and gives the magnitude spectrum `[rows, N]`, never negative; bins that no
band covers are zero. A clip's rows must get the same bits wherever they stand in a pack.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.method import Method
from models.stft import PackedStft


def _product(pack: PackedStft, rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows @ matrix` in blocks of the pack's size, so that no row's bits depend on the others."""
    out = torch.empty(pack.rows, matrix.shape[1], dtype=rows.dtype, device=rows.device)
    for block in pack.blocks():
        torch.mm(rows[block], matrix, out=out[block])
    return out


def _magnitude(pack: PackedStft, spectrum: Tensor) -> Tensor:
    return spectrum.sqrt_() if pack.plan.config.power == 2 else spectrum


def transpose(pack: PackedStft, mel: Tensor) -> Tensor:
    """The normalised transpose: `(S (M / F1))^(1/p)`.

    `F1` are the bands' weights and `S` is `F` transposed with each row scaled to sum to one: each
    bin gets the weighted mean of the levels of the bands that it feeds. Without the two
    normalisations (bkvogel/griffin_lim) levels tilt with the bands' widths and areas. Source:
    f0k in nnAudio issue 57.
    """
    return _magnitude(pack, _product(pack, mel / pack.plan.band_weight, pack.plan.spread))


def pinv(pack: PackedStft, mel: Tensor) -> Tensor:
    """The clipped pseudo-inverse `max(F^+ M, 0)^(1/p)` (FreeV, Coqui TTS): the spectrum of least
    norm that has the mel, with its negative values, a third to a half of all, cut off.
    """
    return _magnitude(pack, _product(pack, mel, pack.plan.pinv).clamp_min_(0.0))


INVERSIONS: dict[str, Method] = {
    "pinv": Method(pinv, "FreeV; Coqui TTS, TTS/utils/audio/processor.py", "1 dense product"),
    "transpose": Method(transpose, "f0k in nnAudio issue 57", "1 product"),
}
