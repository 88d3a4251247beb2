"""The table of the joint methods, mel to waveform in one iteration.

Every function takes a pack, the linear mel `[rows, K]` (largest value of a clip in [1, 2)),
`bound` `[rows, K]` where it is an upper bound and no level, the start's magnitude and phases
`[rows, N]`, a schedule and its own parameters by name, and leaves the waveform as the pack's
signal. The start is the normalised transpose, zero where `bound` holds, so that silence stays
silence.
"""

from __future__ import annotations

from unmel.models.methods.joint.admm_mel import admm_mel
from unmel.models.methods.joint.consistent import consistent
from unmel.models.methods.method import Cost, Method, Parameter, Work

JOINT: dict[str, Method] = {
    "consistent": Method(
        consistent,
        "Unmel; Griffin-Lim on the mel itself, with the ratio step of Richardson 1972, Lucy 1974",
        Cost(step=Work(products=2, pairs=1), compiled=0.3),
        sample_floats=6.0,  # the comb's band, and the periods that it is looked for among
    ),
    "admm_mel": Method(
        admm_mel,
        "Masuyama, Ueno and Ono 2025, arXiv 2501.05557",
        Cost(
            step=Work(products=2, pairs=1),
            note="; 3 products where the mel's power is not 1",
        ),
        (Parameter("rho", 0.1, 1e-6, 100.0, "how far the mel may be missed in one step"),),
    ),
}
