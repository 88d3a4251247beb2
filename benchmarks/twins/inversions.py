"""Mel to magnitude as its sources say it: of a filterbank `[K, N]` and a linear mel `[K, T]` of
any power the spectrum `[N, T]` of that power.
"""

from __future__ import annotations

import librosa
import numpy as np
import torch
from torch import Tensor

from benchmarks.twins.frames import Real


def transpose(bank: Real, mel: Real) -> Real:
    """f0k in nnAudio issue 57: the bands' levels, spread by the transpose with rows of sum 1."""
    levels = mel / bank.sum(axis=1, keepdims=True)
    return np.asarray(spread(bank).T @ levels)


def spread(bank: Real) -> Real:
    """`S` transposed, `[K, N]`: a bin's weights of the bands that it feeds, which sum to 1."""
    covered = bank.sum(axis=0)
    shares: Real = np.divide(bank, covered, out=np.zeros_like(bank), where=covered > 0)
    return shares


def pinv(bank: Real, mel: Real) -> Real:
    """FreeV; Coqui TTS."""
    return np.asarray(np.maximum(np.linalg.pinv(bank) @ mel, 0.0))


def shared_pinv(bank: Real, mel: Real) -> Real:
    """The same where bands that are nearly sums of others count as such, as in Unmel."""
    return np.asarray(np.maximum(np.linalg.pinv(bank, rcond=1e-5) @ mel, 0.0))


def lstsq(bank: Real, mel: Real) -> Real:
    """What torchaudio asks of torch since 2.1, in its place where it does not load."""
    solution = torch.linalg.lstsq(torch.from_numpy(bank), torch.from_numpy(mel), driver="gels")
    return np.asarray(torch.relu(solution.solution).numpy())


def smooth(bank: Real, mel: Real, steps: int = 10) -> Real:
    """Richardson 1972, Lucy 1974, from the normalised transpose."""
    spectrum = transpose(bank, mel)
    for _ in range(steps):
        spectrum = spectrum * (spread(bank).T @ (mel / np.maximum(bank @ spectrum, 1e-300)))
    return spectrum


def librosas_nnls(bank: Real, mel: Real) -> Real:
    """Librosa's own, which stops where its absolute tolerances are met."""
    return np.asarray(librosa.util.nnls(bank, mel))


def converged_nnls(bank: Real, mel: Real) -> Real:
    """Librosa's own with scipy's tolerances at their least, a shorter memory, on a peak of 1."""
    peak = mel.max()
    found = librosa.util.nnls(
        bank, mel / peak, m=10, pgtol=0.0, factr=10.0, maxiter=5000, maxfun=10_000
    )
    return np.asarray(found * peak)


def squared_lbfgs(bank: Real, mel: Real, steps: int = 100) -> Real:
    """Torch's own L-BFGS with its strong Wolfe search on `u`, the spectrum `u^2`."""
    peak = mel.max()
    fb, aim = torch.from_numpy(bank), torch.from_numpy(mel / peak)
    u = torch.from_numpy(np.sqrt(transpose(bank, mel / peak))).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [u],
        max_iter=steps,
        history_size=6,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (fb @ u.square() - aim).square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call] # likewise
    return np.asarray(u.detach().square().numpy() * peak)


def former_inverse_mel_scale(
    bank: Real,
    mel: Real,
    start: Real,
    steps: int,
    *,
    rate: float = 0.1,
    tolerance_loss: float = 1e-5,
    tolerance_change: float = 1e-8,
) -> Real:
    """InverseMelScale of torchaudio 0.4 to 2.0: autograd, optimiser, absolute tolerances and all.

    Its loss is the mean over frames, its start was `torch.rand`, its `max_iter` 100,000.
    """
    fb, aim = torch.from_numpy(bank), torch.from_numpy(mel)
    spectrum = torch.tensor(start).requires_grad_()
    optimiser = torch.optim.SGD([spectrum], lr=rate, momentum=0.9)
    before = torch.inf
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (aim - fb @ spectrum).pow(2).sum(dim=0).mean()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        optimiser.step()
        spectrum.data = spectrum.data.clamp(min=0)
        now = float(loss.detach())
        if now < tolerance_loss or abs(before - now) < tolerance_change:
            break
        before = now
    return np.asarray(spectrum.detach().numpy())


def relative_descent(bank: Real, mel: Real, steps: int = 1000) -> Real:
    """The same descent in Unmel's units: each frame's peak 1, each bin's step `D = 1 / (F^T F 1)`,
    from a flat spectrum of the frame's mean level, to the last step.
    """
    peak = np.maximum(mel.max(axis=0), 1e-300)
    mean = (mel / peak).sum(axis=0) / bank.sum()
    start = mean * (bank.sum(axis=0) > 0)[:, None]
    # A step of `D` is a step of 1 in `x / D^(1/2)` with the bank `F D^(1/2)`; the loss is a mean
    # over frames, and the rate makes it each frame's own.
    root = np.sqrt(_step(bank))[:, None]
    found = former_inverse_mel_scale(
        bank * root.T,
        mel / peak,
        np.divide(start, root, out=np.zeros_like(start), where=root > 0),
        steps,
        rate=0.1 * mel.shape[1],
        tolerance_loss=0.0,
        tolerance_change=0.0,
    )
    return np.asarray(found * root * peak)


def _step(bank: Real) -> Real:
    """`1 / (F^T F 1)` `[N]`, zero where no band is."""
    sums = bank.T @ bank.sum(axis=1)
    step: Real = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    return step
