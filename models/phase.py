"""Linear magnitude to waveform: the second half of the two-stage methods.

Every function takes a pack, the magnitude `[rows, N]` (zero between clips), start phases
`[rows, N]` in radians, the number of iterations and its own parameters by name, and leaves the
waveform as the pack's signal. With `P = STFT iSTFT` the projection on what a signal can be and
`A t/|t|` that on the magnitude `A`, methods differ in how they combine the two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.method import Method, Parameter
from models.start import synthesize
from models.stft import PackedStft

# |t|^2 may be this small before its phase is taken as nothing; targets are of the order of 1.
TINY = 1e-20


def squared_magnitude(spectrum: Tensor) -> Tensor:
    """`|X|^2`; complex `abs` takes seven times as long on a CPU."""
    parts = torch.view_as_real(spectrum)
    return parts[..., 0].square() + parts[..., 1].square()


def griffin_lim(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, momentum: float
) -> None:
    """Griffin and Lim (1984); with momentum Perraudin, Balazs and Sondergaard (2013).

    With `P = STFT iSTFT`: `R = P(C)`, `t = R + a (R - R_prev)`, `C = A t / |t|`. `a = 0` is the
    classic algorithm, 0.99 fast Griffin-Lim (librosa's default).
    """
    synthesize(pack, magnitude, phases)
    previous = torch.zeros(magnitude.shape, dtype=pack.complex_dtype, device=magnitude.device)
    for i in range(n_iter):
        pack.begin()
        for block in pack.blocks():
            consistent = pack.spectrum(block)
            beyond = torch.add(
                consistent, consistent - previous[block], alpha=momentum if i else 0.0
            )
            previous[block] = consistent
            gain = magnitude[block] * torch.rsqrt(squared_magnitude(beyond) + TINY)
            pack.add(block, beyond.mul_(gain))
        pack.finish()


MOMENTUM = Parameter("momentum", 0.99, 0.0, 1.5, "step beyond the projection; 0 is the classic")

PHASES: dict[str, Method] = {
    "griffin_lim": Method(
        griffin_lim,
        "Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013",
        "1 pair of transforms an iteration",
        (MOMENTUM,),
    ),
}
