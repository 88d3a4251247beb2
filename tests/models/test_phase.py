"""Phase methods: librosa's Griffin-Lim and a slow twin for every other, bits, silence, edges."""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from models.errors import Invalid
from models.phase import PHASES
from tests.models.packs import magnitude_error, plan_of, recovered, voices

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
TACOTRON = plan_of("tacotron2-22k")
FRAMING = {"n_fft": 1024, "hop_length": 256, "win_length": 1024, "window": "hann", "center": True}
# Hops that do not divide the window, windows shorter than the transform, zeros beyond the edges.
ODD = ["whisper-80", "pwg-24k", "audioldm-16k", "nemo-22k"]


def stft(wave: Real) -> Complex:
    spectrum: Complex = librosa.stft(wave, pad_mode="reflect", **FRAMING)
    return spectrum


def istft(spectrum: Complex) -> Real:
    wave: Real = librosa.istft(spectrum, **FRAMING)
    return wave


def project(spectrum: Complex) -> Complex:
    """`P`: the spectrum of the signal nearest to it."""
    return stft(istft(spectrum))


def onto(magnitude: Real, spectrum: Complex) -> Complex:
    return magnitude * np.exp(1j * np.angle(spectrum))


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_griffin_lim_is_librosas(momentum: float) -> None:
    [wave] = voices(TACOTRON, [0.5])
    magnitude = np.abs(stft(wave))
    theirs = librosa.griffinlim(
        magnitude, n_iter=8, pad_mode="reflect", momentum=momentum, init=None, **FRAMING
    )
    [ours] = recovered(
        TACOTRON, [wave], "griffin_lim", 8, given=np.zeros(magnitude.T.shape), momentum=momentum
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def accelerated_twin(a: Real, c: Complex, n: int) -> Complex:
    t = d = c = project(onto(a, c))
    for _ in range(n - 1):
        t_next = (1 - 1.25) * d + 1.25 * project(onto(a, c))
        c = t_next + 1.0 * (t_next - t)
        d = t_next + 1.1 * (t_next - t)
        t = t_next
    return onto(a, c)


def admm_twin(a: Real, c: Complex, n: int) -> Complex:
    x, u, rho = c, np.zeros_like(c), 0.1
    for _ in range(n):
        y = x + u
        z = (rho * y + project(y)) / (1 + rho)
        u = y - z
        x = onto(a, z - u)
    return x


def raar_twin(a: Real, c: Complex, n: int) -> Complex:
    x, beta = c, 0.9

    def reflect_signal(v: Complex) -> Complex:
        return 2 * project(v) - v

    for _ in range(n):
        mirrored = reflect_signal(2 * onto(a, x) - x)
        x = beta / 2 * (x + mirrored) + (1 - beta) * onto(a, x)
    return onto(a, x)


def difference_map_twin(a: Real, c: Complex, n: int, beta: float = 0.8) -> Complex:
    x = c
    for i in range(n):
        f_p = project(x) - (project(x) - x) / beta
        f_a = onto(a, x) + (onto(a, x) - x) / beta
        if i == n - 1:
            break
        x = x + beta * (project(f_a) - onto(a, f_p))
    return onto(a, f_p)


def whole_difference_map_twin(a: Real, c: Complex, n: int) -> Complex:
    # With beta = 1 the last iteration's move is made too: it is the one that has been paid for.
    return difference_map_twin(a, c, n + 1, 1.0)


@pytest.mark.parametrize(
    ("method", "params", "twin"),
    [
        ("accelerated", {}, accelerated_twin),
        ("admm", {}, admm_twin),
        ("raar", {}, raar_twin),
        ("difference_map", {}, difference_map_twin),
        ("difference_map", {"beta": 1.0}, whole_difference_map_twin),
    ],
)
def test_a_projection_method_is_its_formula_written_out(
    method: str, params: dict[str, float], twin: Callable[[Real, Complex, int], Complex]
) -> None:
    [wave] = voices(TACOTRON, [0.4])
    magnitude = np.abs(stft(wave))
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, magnitude.shape)
    theirs = istft(twin(magnitude, magnitude * np.exp(1j * phases), 7))
    [ours] = recovered(TACOTRON, [wave], method, 7, given=phases.T, **params)
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_rtisi_la_is_its_loop_over_frames_written_out() -> None:
    [wave] = voices(TACOTRON, [0.25])
    magnitude = np.abs(stft(wave)).T
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, magnitude.shape)
    lookahead, rounds = 2, 3
    window = librosa.filters.get_window("hann", 1024)
    level = np.sum(window[::256] ** 2)  # of a Hann window's four steps all sums are the same
    coefficients = np.zeros_like(magnitude, dtype=complex)

    def signal(first: int, end: int) -> Real:
        out = np.zeros((len(magnitude) + 3) * 256)
        for t in range(first, end):
            out[t * 256 : t * 256 + 1024] += window * np.fft.irfft(coefficients[t])
        return out

    def frame(samples: Real, t: int) -> Complex:
        return np.fft.rfft(window * samples[t * 256 : t * 256 + 1024] / level)

    for newest in range(len(magnitude) + lookahead):
        oldest, end = max(newest - lookahead, 0), min(newest + 1, len(magnitude))
        if newest < len(magnitude):
            known = frame(signal(0, newest), newest) + 1e-6 * np.exp(1j * phases[newest])
            coefficients[newest] = onto(magnitude[newest], known)
        for _ in range(rounds):
            samples = signal(0, end)
            for t in range(oldest, end):
                coefficients[t] = onto(magnitude[t], frame(samples, t))
    theirs = istft(coefficients.T)
    [ours] = recovered(
        TACOTRON, [wave], "rtisi_la", rounds * (lookahead + 1), given=phases, lookahead=lookahead
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_lbfgs_comes_as_low_as_scipys_on_the_same_error_in_as_many_evaluations() -> None:
    [wave] = voices(TACOTRON, [0.4])
    magnitude = np.abs(stft(wave)).T
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, magnitude.shape)
    window = librosa.filters.get_window("hann", 1024)
    at = np.arange(len(magnitude))[:, None] * 256 + np.arange(1024)
    both = np.r_[1.0, np.full(511, 2.0), 1.0] / 1024  # the two sides of a spectrum

    def error(samples: Real) -> tuple[float, Real]:
        spectra = np.fft.rfft(samples[at] * window)
        over = np.abs(spectra) - magnitude
        gradient = np.zeros_like(samples)
        np.add.at(gradient, at, window * np.fft.irfft(over * np.exp(1j * np.angle(spectra))))
        return 0.5 * float((over**2 * both).sum()), gradient

    mirror = np.pad(np.arange(34 * 256), 512, mode="reflect")

    def mirrored(samples: Real) -> tuple[float, Real]:
        value, gradient = error(samples[mirror])
        return value, np.bincount(mirror, gradient)

    begun = istft((magnitude * np.exp(1j * phases)).T)
    scipys = minimize(
        mirrored, begun, jac=True, method="L-BFGS-B", options={"maxfun": 60, "maxcor": 10}
    )
    [ours] = recovered(TACOTRON, [wave], "lbfgs", 60, given=phases)
    assert mirrored(ours)[0] < 1.15 * scipys.fun < 0.1 * mirrored(begun)[0]


def test_the_first_step_of_lbfgs_is_one_of_griffin_lim() -> None:
    [wave] = voices(TACOTRON, [0.4])
    [one] = recovered(TACOTRON, [wave], "lbfgs", 1)
    [same] = recovered(TACOTRON, [wave], "griffin_lim", 1, momentum=0.0)
    np.testing.assert_allclose(one[1024:-1024], same[1024:-1024], atol=1e-9)


@pytest.mark.parametrize(
    "method", ["griffin_lim", "accelerated", "admm", "raar", "difference_map", "lbfgs"]
)
def test_every_successor_ends_nearer_to_the_magnitude_than_classic_griffin_lim(method: str) -> None:
    [wave] = voices(TACOTRON, [0.5])
    [classic] = recovered(TACOTRON, [wave], "griffin_lim", 40, momentum=0.0)
    [other] = recovered(TACOTRON, [wave], method, 40)
    limit = 0.95 * magnitude_error(TACOTRON, wave, classic)
    assert magnitude_error(TACOTRON, wave, other) < limit


def test_looking_ahead_helps() -> None:
    [wave] = voices(TACOTRON, [0.8])
    blind, ahead = (recovered(TACOTRON, [wave], "rtisi_la", 16, lookahead=k)[0] for k in (0, 3))
    assert magnitude_error(TACOTRON, wave, ahead) < magnitude_error(TACOTRON, wave, blind) < 0.3


@pytest.mark.parametrize("name", ["hifigan-22k", *ODD])
@pytest.mark.parametrize("method", PHASES)
def test_a_clip_has_the_same_bits_alone_and_in_any_pack(method: str, name: str) -> None:
    plan = plan_of(name, torch.float32)
    waves = voices(plan, [0.15, 0.32, 0.08, 0.24])
    alone = [recovered(plan, [w], method, 4, seeds=[k])[0] for k, w in enumerate(waves)]
    for order in ([0, 1, 2, 3], [3, 1, 0]):
        together = recovered(plan, [waves[k] for k in order], method, 4, seeds=order)
        for k, result in zip(order, together, strict=True):
            assert np.array_equal(result, alone[k]), (order, k)


@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80"])
@pytest.mark.parametrize("method", PHASES)
def test_a_silent_clip_stays_exactly_silent_beside_loud_ones(method: str, name: str) -> None:
    plan = plan_of(name, torch.float32)
    loud, other = voices(plan, [0.3, 0.2])
    first, silent, _ = recovered(plan, [loud, 0.0 * loud, other], method, 5)
    assert first.any()
    assert not silent.any()


@pytest.mark.parametrize("name", ["hifigan-22k", *ODD])
@pytest.mark.parametrize("method", PHASES)
@pytest.mark.parametrize("frames", [1, 2])
def test_clips_of_one_or_two_frames_come_out_finite(method: str, name: str, frames: int) -> None:
    plan = plan_of(name, torch.float32)
    [whole] = voices(plan, [0.3])
    short = whole[2000 : 2000 + plan.config.samples(frames)]
    [result] = recovered(plan, [short], method, 5)
    assert result.shape == short.shape
    assert np.isfinite(result).all()


@pytest.mark.parametrize("method", PHASES)
def test_no_iterations_give_the_signal_of_the_start(method: str) -> None:
    [wave] = voices(TACOTRON, [0.3])
    [ours] = recovered(TACOTRON, [wave], method, 0)
    [start] = recovered(TACOTRON, [wave], "griffin_lim", 0)
    assert np.array_equal(ours, start)


@pytest.mark.parametrize("method", PHASES)
def test_float32_agrees_with_float64_before_chaos_sets_in(method: str) -> None:
    single = plan_of("tacotron2-22k", torch.float32)
    waves = voices(TACOTRON, [0.3])
    [exact], [ours] = (recovered(plan, waves, method, 3) for plan in (TACOTRON, single))
    assert (exact.dtype, ours.dtype) == (np.float64, np.float32)
    assert np.abs(exact - ours).max() < 1e-3 * np.abs(exact).max()


def test_accelerated_refuses_what_would_diverge() -> None:
    waves = voices(TACOTRON, [0.2])
    with pytest.raises(Invalid, match=r"params\.gamma"):
        recovered(TACOTRON, waves, "accelerated", 3, gamma=1.5, beta=1.0)


@pytest.mark.parametrize(("beta", "gamma"), [(1.45, 1.25), (1.0, 0.1), (0.0, 1.5)])
def test_accelerated_stays_finite_where_it_does_not_refuse(beta: float, gamma: float) -> None:
    plan = plan_of("hifigan-22k", torch.float32)
    [wave] = voices(plan, [0.1])
    [result] = recovered(plan, [wave], "accelerated", 400, alpha=2.0, beta=beta, gamma=gamma)
    assert np.isfinite(result).all()
