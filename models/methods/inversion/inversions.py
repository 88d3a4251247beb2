"""Mel to linear magnitude: the first half of the two-stage methods, those of one product here.

Every function takes the pack, a packed linear mel `[rows, K]` of the config's power and its own
parameters by name, and gives the magnitude spectrum `[rows, N]`, never negative; bins that no
band covers are zero. A clip's rows must get the same bits wherever they stand in a pack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unmel.models.methods.inversion.solvers import gradient, lbfgs, magnitude, nnls, smooth
from unmel.models.methods.method import Cost, Method, Parameter, Work
from unmel.models.signal.packed_stft import PackedStft


def _product(pack: PackedStft, rows: Tensor, matrix: Tensor) -> Tensor:
    """`rows @ matrix` in blocks of the pack's size, so that no row's bits depend on the others."""
    out = torch.empty(pack.rows, matrix.shape[1], dtype=rows.dtype, device=rows.device)
    for block in pack.blocks():
        torch.mm(rows[block], matrix, out=out[block])
    return out


def transpose(pack: PackedStft, mel: Tensor) -> Tensor:
    """The normalised transpose: `(S (M / F1))^(1/p)`.

    `F1` are the bands' weights and `S` is `F` transposed with each row scaled to sum to one: each
    bin gets the weighted mean of the levels of the bands that it feeds. bkvogel/griffin_lim takes
    `F^T M`: corrected here are the levels, which there tilt with the bands' widths and areas, and
    the power's root, which is taken last. Source: f0k in nnAudio issue 57.
    """
    plan = pack.plan
    levels, bands = mel / plan.band_weight, plan.bands
    out = torch.empty(pack.rows, plan.config.n_bins, dtype=mel.dtype, device=mel.device)
    pack.backend.spread(bands, levels, out)
    return magnitude(pack, out)


def pinv(pack: PackedStft, mel: Tensor) -> Tensor:
    """The clipped pseudo-inverse `max(F^+ M, 0)^(1/p)`.

    The spectrum of least norm that has the mel, with its negative values cut off.

    References
    ----------
    FreeV; Coqui TTS, TTS/utils/audio/processor.py.

    """
    return magnitude(pack, _product(pack, mel, pack.plan.pinv).clamp_min_(0.0))


def lstsq(pack: PackedStft, mel: Tensor) -> Tensor:
    """Least squares, clipped at zero: torchaudio's InverseMelScale since 2.1.

    `max(argmin |F x - M|, 0)^(1/p)`, and of the many solutions that of least norm. LAPACK's `gels`,
    which torchaudio asks, wants bands that are linearly independent and breaks on an empty one; by
    the pseudo-inverse empty bands are left out and doubled ones shared. With independent bands
    both give the solution of least norm: this is `pinv` under its other name, bit for bit.
    """
    return pinv(pack, mel)


_PRODUCT = Cost(once=Work(products=1))


def _up_to(steps: float) -> Callable[[Mapping[str, float], int], float]:
    """Steps until most frames have ended, where the parameter allows as many."""
    return lambda params, _: min(params["n_iter"], steps)


_LOOKS = "looks every few steps whether all frames have ended"

INVERSIONS: dict[str, Method] = {
    "pinv": Method(pinv, "FreeV; Coqui TTS, TTS/utils/audio/processor.py", _PRODUCT),
    "lstsq": Method(lstsq, "torchaudio 2.1, transforms.InverseMelScale", _PRODUCT),
    "transpose": Method(transpose, "f0k in nnAudio issue 57", _PRODUCT),
    "smooth": Method(
        smooth,
        "Richardson 1972, Lucy 1974; Lee and Seung 2001",
        Cost(
            once=Work(products=1),
            step=Work(products=2, passes=2),
            name="a step",
            steps=_up_to(1000),
        ),
        (Parameter("n_iter", 10, 0, 1000, "Richardson-Lucy steps", integer=True),),
    ),
    "nnls": Method(
        nnls,
        "librosa.util.nnls; Beck and Teboulle 2009",
        Cost(
            once=Work(products=21, passes=20),
            step=Work(products=2, passes=12),
            name="a step",
            steps=_up_to(60),
            note=", of which a clip takes 20 to 100",
        ),
        (
            Parameter("n_iter", 200, 1, 5000, "most steps a frame", integer=True),
            Parameter(
                "tolerance", 1e-9, 0.0, 1.0, "least fall of error / energy in 10 steps to go on"
            ),
        ),
        host=_LOOKS,
    ),
    "lbfgs": Method(
        lbfgs,
        "hjmshi/PyTorch-LBFGS, named in nnAudio issue 57; Nocedal 1980",
        Cost(
            once=Work(products=21, passes=20),
            step=Work(products=4, passes=50),
            name="a step with a memory of 6",
            step_for=lambda params: Work(products=4, passes=14 + 6 * params["memory"]),
            steps=_up_to(60),
        ),
        (
            Parameter("n_iter", 100, 1, 2000, "most steps a frame", integer=True),
            Parameter("memory", 6, 1, 30, "steps remembered", integer=True),
            Parameter(
                "tolerance", 1e-9, 0.0, 1.0, "least change of error / energy in 10 steps to go on"
            ),
        ),
        host=_LOOKS,
    ),
    "gradient": Method(
        gradient,
        "torchaudio 0.4 to 2.0, transforms.InverseMelScale",
        Cost(
            step=Work(products=2, passes=4),
            name="a step",
            steps=_up_to(120),
            note=", of which a clip takes 60 to 150",
        ),
        (
            Parameter("n_iter", 1000, 1, 10_000, "most steps a frame", integer=True),
            Parameter("learning_rate", 0.1, 1e-4, 0.9, "step in units of 1 / (F^T F 1) a bin"),
            Parameter("momentum", 0.9, 0.0, 0.99, "share of the last step kept"),
            Parameter("tolerance_loss", 1e-5, 0.0, 1.0, "error / energy at which a frame ends"),
            Parameter("tolerance_change", 1e-8, 0.0, 1.0, "least change of it a step to go on"),
        ),
        host=_LOOKS,
    ),
}
