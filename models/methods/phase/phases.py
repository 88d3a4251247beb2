"""Linear magnitude to waveform by projections, and the table of every phase method.

Every function takes a pack, the magnitude `[rows, N]` (zero between clips), start phases
`[rows, N]` in radians, the number of iterations and its own parameters by name, and leaves the
waveform as the pack's signal. With `P = STFT iSTFT` the projection on what a signal can be and
`P_A(t) = A t/|t|` that on the magnitude `A`, methods differ in how they combine the two. `P` is
linear, so each below is written to need one pair of transforms an iteration where it can.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unmel.models.errors import Invalid
from unmel.models.methods.method import Cost, Method, Parameter, Work
from unmel.models.methods.phase.descent import lbfgs
from unmel.models.methods.phase.rtisi import rtisi_la
from unmel.models.methods.projection import clip_mask, impose, iterate, state
from unmel.models.methods.start.starts import kept_spectrum, synthesize
from unmel.models.signal.packed_stft import PackedStft


def griffin_lim(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, momentum: float
) -> None:
    """Griffin-Lim: project on signals and on the magnitude in turn, with a momentum.

    With `P = STFT iSTFT`: `R = P(C)`, `t = R + a (R - R_prev)`, `C = P_A(t)`.

    Parameters
    ----------
    pack, magnitude, phases, n_iter
        As for every method of this file.
    momentum
        `a`: 0 is the classic algorithm, 0.99 fast Griffin-Lim (librosa's default).

    References
    ----------
    Griffin and Lim 1984; momentum by Perraudin, Balazs and Sondergaard 2013.

    """
    synthesize(pack, magnitude, phases)
    previous = state(pack)

    def step(i: int, block: slice, here: Tensor) -> Tensor:
        beyond = torch.add(here, here - previous[block], alpha=momentum if i else 0.0)
        previous[block] = here
        return impose(magnitude[block], beyond)

    iterate(pack, step, 0, n_iter)


def accelerated(
    pack: PackedStft,
    magnitude: Tensor,
    phases: Tensor,
    n_iter: int,
    alpha: float,
    beta: float,
    gamma: float,
) -> None:
    """Accelerated Griffin-Lim: coupled sequences, two momenta, an over-relaxed projection.

        t_n = (1 - g) d_{n-1} + g P(P_A(c_{n-1}))
        c_n = t_n + a (t_n - t_{n-1}),   d_n = t_n + b (t_n - t_{n-1})

    `b = 0, g = 1` is fast Griffin-Lim. Beyond `g = 1` the recursion of `d` is stable for
    `(g - 1)(1 + 2 b) < 1` alone (their condition `2 b |1 - g| < 2 - g`), below it for
    `(1 - g) b < 1`: other values are refused.

    Parameters
    ----------
    pack, magnitude, phases, n_iter
        As for every method of this file.
    alpha, beta, gamma
        `a`, `b` and `g`.

    References
    ----------
    Nenov, Nguyen, Balazs and Bot 2023, arXiv 2306.12504.

    """
    synthesize(pack, magnitude, phases)
    previous, drawn = state(pack), state(pack)

    def step(i: int, block: slice, here: Tensor) -> Tensor:
        if i == 0:
            previous[block] = here
            drawn[block] = here
            return impose(magnitude[block], here)
        present = torch.add(drawn[block] * (1.0 - gamma), here, alpha=gamma)
        moved = present - previous[block]
        previous[block] = present
        drawn[block] = torch.add(present, moved, alpha=beta)
        return impose(magnitude[block], present.add_(moved, alpha=alpha))

    iterate(pack, step, 0, n_iter)


def check_accelerated(values: Mapping[str, float]) -> None:
    """Refuse a `beta` and `gamma` with which `d` would grow without bound.

    Raises
    ------
    Invalid
        In that case, naming both.

    """
    beta, gamma = values["beta"], values["gamma"]
    if (gamma - 1.0) * (1.0 + 2.0 * beta) >= 1.0 or (1.0 - gamma) * beta >= 1.0:
        raise Invalid(
            "params.gamma",
            f"{gamma:g} with beta {beta:g}",
            "(gamma - 1)(1 + 2 beta) and (1 - gamma) beta below 1, or the iteration diverges",
        )


def admm(pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, rho: float) -> None:
    """Griffin-Lim by ADMM, with a multiplier.

    The squared distance to what a signal can be is minimised over spectra of the magnitude.

        x = P_A(z - u),   z = (r y + P(y)) / (1 + r) with y = x + u,   u = y - z

    Here `y` alone is kept: `z - u = ((r - 1) y + 2 P(y)) / (1 + r)`. `r = 0` is the difference
    map with `beta = 1`; a large `r` approaches Griffin-Lim's fixed points slowly.

    Parameters
    ----------
    pack, magnitude, phases, n_iter
        As for every method of this file.
    rho
        `r`.

    References
    ----------
    Masuyama, Yatabe and Oikawa 2018, "Griffin-Lim like phase recovery via alternating direction
    method of multipliers".

    """
    synthesize(pack, magnitude, phases)
    kept, clips = kept_spectrum(pack, magnitude, phases), clip_mask(pack)

    def step(i: int, block: slice, here: Tensor) -> Tensor:
        y = kept[block]
        nearest = impose(magnitude[block], torch.add(here * 2.0, y, alpha=rho - 1.0))
        if i == n_iter - 1:
            return nearest
        y.sub_(here).div_(1.0 + rho).mul_(clips[block]).add_(nearest)
        return y

    iterate(pack, step, 0, n_iter)


def raar(pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, beta: float) -> None:
    """Relaxed averaged alternating reflections.

    The mean of a double reflection and where it started, relaxed towards the magnitude.

    With `R = 2 P - 1` and `R_A = 2 P_A - 1`: `x' = b/2 (x + R R_A x) + (1 - b) P_A x`, which is
    `b (x - a) + (1 - b) a + b P(2 a - x)` with `a = P_A x`. The answer is the signal of `P_A x`.

    Parameters
    ----------
    pack, magnitude, phases, n_iter
        As for every method of this file.
    beta
        `b`.

    References
    ----------
    Luke 2005; for speech Peer, Welker and Gerkmann 2022.

    """
    synthesize(pack, magnitude, phases)
    kept, clips = kept_spectrum(pack, magnitude, phases, 1.0 - beta), clip_mask(pack)

    def step(i: int, block: slice, here: Tensor) -> Tensor:
        x = torch.add(kept[block], here, alpha=beta).mul_(clips[block])
        nearest = impose(magnitude[block], x)
        if i == n_iter - 1:
            return nearest
        kept[block] = torch.add(x * beta, nearest, alpha=1.0 - 2.0 * beta)
        return nearest.mul_(2.0).sub_(x)

    iterate(pack, step, 0, n_iter)


def difference_map(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, beta: float
) -> None:
    """The difference map: move by the difference of two relaxed projections.

    Each projection is taken at a point relaxed by the other.

        x' = x + b (P f_A(x) - P_A f_P(x))
        f_A(x) = P_A(x) + (P_A(x) - x) / b,   f_P(x) = P(x) - (P(x) - x) / b

    With `b = 1`, where `f_P(x) = x`, one pair of transforms an iteration is enough and it is
    `raar` with `beta = 1`; else it takes two. The answer is the signal of `P_A f_P(x)`.

    Parameters
    ----------
    pack, magnitude, phases, n_iter
        As for every method of this file.
    beta
        `b`.

    References
    ----------
    Elser 2003; for speech, and in this order, Peer, Welker and Gerkmann 2022, "Beyond
    Griffin-Lim".

    """
    if beta == 1.0:
        raar(pack, magnitude, phases, n_iter, beta)
        return
    synthesize(pack, magnitude, phases)
    kept, clips = kept_spectrum(pack, magnitude, phases), clip_mask(pack)

    def toward_magnitude(i: int, block: slice, here: Tensor) -> Tensor:
        x = kept[block]
        # b f_P(x) and b f_A(x)
        solution = impose(magnitude[block], torch.add(x, here, alpha=beta - 1.0))
        if i == n_iter - 1:
            return solution
        relaxed = impose(magnitude[block], x).mul_(1.0 + beta).sub_(x)
        x.sub_(solution, alpha=beta)
        return relaxed

    def toward_signal(i: int, block: slice, here: Tensor) -> Tensor:
        return kept[block].add_(here).mul_(clips[block])

    for i in range(n_iter):
        iterate(pack, toward_magnitude, i, i + 1)
        if i < n_iter - 1:
            iterate(pack, toward_signal, i, i + 1)


def _rtisi_steps(params: Mapping[str, float], n_iter: int) -> float:
    """A frame is in as many rounds as it is held for, of equal steps, rounded up."""
    held = params["lookahead"] + 1
    return -(-n_iter // held) * held


ONE_PAIR = Cost(step=Work(pairs=1))
MOMENTUM = Parameter("momentum", 0.99, 0.0, 1.5, "step beyond the projection; 0 is the classic")

PHASES: dict[str, Method] = {
    "griffin_lim": Method(
        griffin_lim,
        "Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013",
        ONE_PAIR,
        (MOMENTUM,),
    ),
    "accelerated": Method(
        accelerated,
        "Nenov, Nguyen, Balazs and Bot 2023",
        ONE_PAIR,
        (
            Parameter("alpha", 1.0, 0.0, 2.0, "momentum of what is given the magnitude"),
            Parameter("beta", 1.1, 0.0, 2.0, "momentum of what the next step is relaxed to"),
            Parameter("gamma", 1.25, 0.1, 1.5, "relaxation of the projection"),
        ),
        check_accelerated,
        bin_floats=2,
    ),
    "admm": Method(
        admm,
        "Masuyama, Yatabe and Oikawa 2018",
        ONE_PAIR,
        (Parameter("rho", 0.1, 0.0, 100.0, "weight of the multiplier's step"),),
    ),
    "raar": Method(
        raar,
        "Luke 2005; Peer, Welker and Gerkmann 2022",
        ONE_PAIR,
        (Parameter("beta", 0.9, 0.0, 1.0, "relaxation; 1 is the averaged reflections alone"),),
    ),
    "difference_map": Method(
        difference_map,
        "Elser 2003; Peer, Welker and Gerkmann 2022",
        Cost(
            step=Work(pairs=2),
            step_for=lambda params: Work(pairs=1 if params["beta"] == 1.0 else 2),
            note=", half of it where beta is 1",
        ),
        (Parameter("beta", 0.8, 0.1, 1.5, "size of the step, and of the relaxations"),),
    ),
    "rtisi_la": Method(
        rtisi_la,
        "Zhu, Beauregard and Wyse 2007",
        Cost(
            once=Work(pairs=4),
            step=Work(pairs=1),
            steps=_rtisi_steps,
            alone=2000.0,
            note=", frame after frame",
        ),
        (Parameter("lookahead", 3, 0, 16, "later frames that a frame waits for", integer=True),),
        in_blocks=False,
        host="launches every frame's steps",
    ),
    "lbfgs": Method(
        lbfgs,
        "Decorsiere, Sondergaard, MacDonald and Dau 2015; Nocedal 1980",
        Cost(
            step=Work(pairs=1, passes=20),
            step_for=lambda params: Work(pairs=1, passes=10 + params["history"]),
        ),
        (
            Parameter(
                "history", 10, 1, 50, "steps that the curvature is learned from", integer=True
            ),
        ),
        bin_floats=4,
        sample_floats=2,
        host="chooses the length of every step",
    ),
}
