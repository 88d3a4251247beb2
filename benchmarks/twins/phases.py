"""Magnitude to waveform as the papers say it, written out."""

from __future__ import annotations

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from benchmarks.twins.frames import Complex, Frames, Real, onto


def griffin_lim(
    frames: Frames, magnitude: Real, phases: Real, n_iter: int, momentum: float = 0.99
) -> Real:
    """Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013."""
    t = magnitude * np.exp(1j * phases)
    before = None
    for _ in range(n_iter):
        here = frames.project(onto(magnitude, t))
        t = here if before is None else here + momentum * (here - before)
        before = here
    return frames.wave(onto(magnitude, t))


def accelerated(
    frames: Frames,
    magnitude: Real,
    phases: Real,
    n_iter: int,
    alpha: float = 1.0,
    beta: float = 1.1,
    gamma: float = 1.25,
) -> Real:
    """Nenov, Nguyen, Balazs and Bot 2023, from `t_0 = c_0 = d_0` on what a signal can be."""
    t = c = d = frames.project(magnitude * np.exp(1j * phases))
    for _ in range(n_iter - 1):
        t_next = (1 - gamma) * d + gamma * frames.project(onto(magnitude, c))
        c = t_next + alpha * (t_next - t)
        d = t_next + beta * (t_next - t)
        t = t_next
    return frames.wave(onto(magnitude, c))


def admm(frames: Frames, magnitude: Real, phases: Real, n_iter: int, rho: float = 0.1) -> Real:
    """Masuyama, Yatabe and Oikawa 2018."""
    x = magnitude * np.exp(1j * phases)
    u = np.zeros_like(x)
    for _ in range(n_iter):
        y = x + u
        z = (rho * y + frames.project(y)) / (1 + rho)
        u = y - z
        x = onto(magnitude, z - u)
    return frames.wave(x)


def raar(frames: Frames, magnitude: Real, phases: Real, n_iter: int, beta: float = 0.9) -> Real:
    """Luke 2005, with both reflections."""
    x = magnitude * np.exp(1j * phases)
    for _ in range(n_iter):
        at = onto(magnitude, x)
        mirrored = 2 * at - x
        mirrored = 2 * frames.project(mirrored) - mirrored
        x = beta / 2 * (x + mirrored) + (1 - beta) * at
    return frames.wave(onto(magnitude, x))


def difference_map(
    frames: Frames, magnitude: Real, phases: Real, n_iter: int, beta: float = 0.8
) -> Real:
    """Elser 2003, in the order of Peer, Welker and Gerkmann 2022; its answer is `P_A f_P`."""
    x = magnitude * np.exp(1j * phases)
    for i in range(n_iter):
        here, at = frames.project(x), onto(magnitude, x)
        f_p = here - (here - x) / beta
        f_a = at + (at - x) / beta
        if i < n_iter - 1:
            x = x + beta * (frames.project(f_a) - onto(magnitude, f_p))
    return frames.wave(onto(magnitude, f_p))


def rtisi_la(
    frames: Frames, magnitude: Real, phases: Real, n_iter: int, lookahead: int = 3
) -> Real:
    """Zhu, Beauregard and Wyse 2007: frame after frame, the last few improved together."""
    hop, size, count = frames.hop, frames.n_fft, magnitude.shape[1]
    rounds = -(-n_iter // (lookahead + 1))
    level = np.array([(frames.window[p % hop :: hop] ** 2).sum() for p in range(size)])
    found = np.zeros((count, len(magnitude)), dtype=complex)
    waves = np.zeros((count, size))

    def settle(t: int, toward: Complex) -> None:
        found[t] = onto(magnitude[:, t], toward)
        waves[t] = frames.window * np.fft.irfft(found[t], n=size)

    def frame(t: int) -> Complex:
        """Frame `t` of the signal of all frames there are; those to come are zero."""
        part = np.zeros(size)
        reach = -(-size // hop) - 1
        for s in range(max(t - reach, 0), min(t + reach + 1, count)):
            late = (s - t) * hop
            if late >= 0:
                part[late:] += waves[s, : size - late]
            else:
                part[:late] += waves[s, -late:]
        return np.asarray(np.fft.rfft(frames.window * part / level))

    for newest in range(count + lookahead):
        held = range(max(newest - lookahead, 0), min(newest + 1, count))
        if newest < count:
            settle(newest, frame(newest) + 1e-6 * np.exp(1j * phases[:, newest]))
        for _ in range(rounds):
            for t, toward in [(t, frame(t)) for t in held]:
                settle(t, toward)
    return frames.wave(found.T)


def squared_error(frames: Frames, magnitude: Real, wave: Real) -> tuple[float, Real]:
    """`1/2 |(|STFT x| - A)|^2` over both sides of the spectrum, and its gradient `[L]`."""
    spectrum = frames.spectrum(wave)
    over = np.abs(spectrum) - magnitude
    sides = np.full(len(magnitude), 2.0 / frames.n_fft)
    sides[0] /= 2
    sides[-1] /= 2
    back = frames.window * np.fft.irfft(onto(over, spectrum).T, n=frames.n_fft)
    gradient: Real = np.bincount(
        frames.index.ravel(), back.ravel().astype(np.float64), minlength=len(wave) + 1
    ).astype(np.float64)
    return 0.5 * float((over.T**2 @ sides).sum()), gradient[: len(wave)]


def scipys_lbfgs(
    frames: Frames, magnitude: Real, phases: Real, n_iter: int, history: int = 10
) -> OptimizeResult:
    """Scipy's L-BFGS-B over the samples, `n_iter` evaluations of the error."""
    return minimize(
        lambda wave: squared_error(frames, magnitude, wave),
        frames.wave(magnitude * np.exp(1j * phases)),
        jac=True,
        method="L-BFGS-B",
        options={"maxfun": n_iter, "maxiter": n_iter, "maxcor": history},
    )


def lbfgs(frames: Frames, magnitude: Real, phases: Real, n_iter: int) -> Real:
    """Decorsiere, Sondergaard, MacDonald and Dau 2015, by scipy."""
    found: Real = scipys_lbfgs(frames, magnitude, phases, n_iter).x
    return found
