"""Phase methods: librosa's Griffin-Lim and a slow twin for every other, bits, silence, edges."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.peers import load_torchaudio
from benchmarks.twins import phases as twins
from benchmarks.twins.frames import Frames
from tests.models.packs import magnitude_error, plan_of, recovered, voices
from unmel.models.errors import Invalid
from unmel.models.mel.presets import PRESETS
from unmel.models.methods.phase.phases import PHASES

Real = NDArray[np.float64]
TACOTRON = plan_of("tacotron2-22k")
# Hops that do not divide the window, windows shorter than the transform, zeros beyond the edges.
ODD = ["whisper-80", "pwg-24k", "audioldm-16k", "nemo-22k"]
KINDS = ["tacotron2-22k", "hifigan-22k", *ODD]
# Frames and phases of a voice for a twin, and what it is to be compared on.
Case = tuple[Frames, Real, Real, Real]


def case(name: str, seconds: float) -> Case:
    """A clip's frames, its samples, its magnitude and random phases `[N, T]`."""
    plan = plan_of(name)
    [wave] = voices(plan, [seconds])
    frames = Frames(plan.config, plan.config.frames(len(wave)))
    magnitude = np.abs(frames.spectrum(wave))
    drawn = np.random.default_rng(1).uniform(0, 2 * np.pi, magnitude.shape)
    return frames, wave, magnitude, drawn


def ours_of(name: str, wave: Real, method: str, n_iter: int, phases: Real, **params: float) -> Real:
    """What a method makes of the wave's magnitude from phases counted as the twins count them."""
    config = PRESETS[name].config
    late = (config.n_fft - config.win_length) // 2
    turned = phases + 2 * np.pi * np.arange(config.n_bins)[:, None] * late / config.n_fft
    [result] = recovered(plan_of(name), [wave], method, n_iter, given=turned.T, **params)
    return result


@pytest.mark.parametrize("name", ["tacotron2-22k", "pwg-24k", "nemo-22k"])
def test_the_twins_transforms_are_librosas(name: str) -> None:
    frames, wave, _, _ = case(name, 0.4)
    config = frames.config
    window = np.hanning(config.win_length) if config.window == "hann_symmetric" else "hann"
    framing = {
        "n_fft": config.n_fft,
        "hop_length": config.hop_length,
        "win_length": config.win_length,
        "window": window,
    }
    pad = "constant" if config.padding == "center_constant" else "reflect"
    theirs = librosa.stft(wave, pad_mode=pad, **framing)
    np.testing.assert_allclose(frames.spectrum(wave), theirs, atol=1e-10)
    random = theirs * np.exp(1j * np.random.default_rng(0).uniform(0, 6, theirs.shape))
    np.testing.assert_allclose(frames.wave(random), librosa.istft(random, **framing), atol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_griffin_lim_is_librosas(momentum: float) -> None:
    _, wave, magnitude, _ = case("tacotron2-22k", 0.5)
    theirs = librosa.griffinlim(
        magnitude, n_iter=8, hop_length=256, pad_mode="reflect", momentum=momentum, init=None
    )
    zeros = np.zeros_like(magnitude)
    ours = ours_of("tacotron2-22k", wave, "griffin_lim", 8, zeros, momentum=momentum)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def torchaudios_griffin_lim(magnitude: Real, n_iter: int, momentum: float) -> Real:
    """Its published loop on torch's own transforms, from phases of zero."""
    framing = {
        "n_fft": 1024,
        "hop_length": 256,
        "window": torch.hann_window(1024, dtype=torch.float64),
    }
    level = torch.from_numpy(magnitude)
    angles, before = torch.ones_like(level) + 0j, torch.zeros_like(level) + 0j
    for _ in range(n_iter):
        rebuilt = torch.stft(torch.istft(level * angles, **framing), return_complex=True, **framing)
        angles = rebuilt - momentum / (1.0 + momentum) * before
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    return np.asarray(torch.istft(level * angles, **framing).numpy())


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_griffin_lim_is_torchaudios_formula(momentum: float) -> None:
    _, wave, magnitude, _ = case("tacotron2-22k", 0.5)
    zeros = np.zeros_like(magnitude)
    ours = ours_of("tacotron2-22k", wave, "griffin_lim", 8, zeros, momentum=momentum)
    np.testing.assert_allclose(ours, torchaudios_griffin_lim(magnitude, 8, momentum), atol=1e-7)


@pytest.mark.skipif(load_torchaudio() is None, reason="torchaudio's wheel does not load here")
@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_griffin_lim_is_torchaudios_own(momentum: float) -> None:
    _, wave, magnitude, _ = case("tacotron2-22k", 0.5)
    theirs = load_torchaudio().functional.griffinlim(
        torch.from_numpy(magnitude)[None],
        window=torch.hann_window(1024, dtype=torch.float64),
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        power=1.0,
        n_iter=8,
        momentum=momentum,
        length=None,
        rand_init=False,
    )
    zeros = np.zeros_like(magnitude)
    ours = ours_of("tacotron2-22k", wave, "griffin_lim", 8, zeros, momentum=momentum)
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("griffin_lim", {"momentum": 0.0}),
        ("griffin_lim", {}),
        ("accelerated", {}),
        ("admm", {}),
        ("raar", {}),
        ("difference_map", {}),
        ("rtisi_la", {"lookahead": 2}),
    ],
)
def test_a_method_is_its_formula_written_out(
    method: str, params: dict[str, float], name: str
) -> None:
    frames, wave, magnitude, phases = case(name, 0.25)
    theirs = getattr(twins, method)(frames, magnitude, phases, 7, **params)
    ours = ours_of(name, wave, method, 7, phases, **params)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_difference_map_of_beta_one_makes_the_last_move_too() -> None:
    """It takes one pair of transforms there, and so has paid for it."""
    frames, wave, magnitude, phases = case("tacotron2-22k", 0.4)
    theirs = twins.difference_map(frames, magnitude, phases, 8, beta=1.0)
    ours = ours_of("tacotron2-22k", wave, "difference_map", 7, phases, beta=1.0)
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tacotron2-22k", "hifigan-22k", "pwg-24k"])
def test_lbfgs_comes_as_low_as_scipys_on_the_same_error_in_as_many_evaluations(name: str) -> None:
    frames, wave, magnitude, phases = case(name, 0.4)
    begun = frames.wave(magnitude * np.exp(1j * phases))
    scipys = twins.scipys_lbfgs(frames, magnitude, phases, 60)
    ours = ours_of(name, wave, "lbfgs", 60, phases)
    least = twins.squared_error(frames, magnitude, ours)[0]
    assert least < 1.15 * scipys.fun < 0.1 * twins.squared_error(frames, magnitude, begun)[0]


def test_the_first_step_of_lbfgs_is_one_of_griffin_lim() -> None:
    [wave] = voices(TACOTRON, [0.4])
    [one] = recovered(TACOTRON, [wave], "lbfgs", 1)
    [same] = recovered(TACOTRON, [wave], "griffin_lim", 1, momentum=0.0)
    np.testing.assert_allclose(one[1024:-1024], same[1024:-1024], atol=1e-9)


@pytest.mark.slow
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


@pytest.mark.slow
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
