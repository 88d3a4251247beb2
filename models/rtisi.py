"""Frame after frame: real-time iterative spectrogram inversion with look-ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from models.order import Order
from models.projection import impose, state
from models.start import synthesize
from models.stft import PackedStft

# What is known of a frame from its neighbours, against the start phases: -120 dB of a target.
_FAINT = 1e-6
# The envelope of the frames that there are, as a share of the full one, is not taken for less.
_LEAST_COVER = 0.1


def rtisi_la(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, lookahead: int
) -> None:
    """Real-time iterative spectrogram inversion with look-ahead: a frame's phase is settled from
    the frames before it and a few after it, and never touched again.

    Zhu, Beauregard and Wyse 2007. A frame enters with the phase that the frames there already
    give it (its start phase where they are silent); then it and the `lookahead` frames after it
    go through Griffin-Lim steps on the settled signal beneath them, and it is settled. A frame
    is in `lookahead + 1` rounds, each of `n_iter / (lookahead + 1)` steps rounded up, so that
    `n_iter` is the number of steps that a frame goes through, as in the other methods. In place of
    the paper's special windows for the newest frames, the overlap-add is divided by the windows
    of the frames that are there.
    """
    if n_iter == 0:
        synthesize(pack, magnitude, phases)
        return
    plan, hop, win, n_fft = pack.plan, pack.hop, pack.win, pack.plan.config.n_fft
    held = int(lookahead) + 1
    steps = -(-n_iter // held)
    settled = state(pack)
    order = Order(pack)
    longest = order.frames[0]
    span = (held + pack.overlap - 1) * hop
    device, dtype = plan.device, plan.dtype
    squared = torch.zeros(pack.overlap * hop, dtype=dtype, device=device)
    squared[:win] = plan.window.square()
    least = _LEAST_COVER * squared.view(pack.overlap, hop).sum(dim=0).repeat(span // hop)
    beneath = torch.zeros(len(order), span, dtype=dtype, device=device)
    cover = torch.zeros_like(beneath)
    buffer = torch.zeros(
        len(order), held, magnitude.shape[1], dtype=pack.complex_dtype, device=device
    )
    target = torch.zeros(len(order), held, magnitude.shape[1], dtype=dtype, device=device)
    frames = torch.zeros(len(order), held, n_fft, dtype=dtype, device=device)

    def overlap(onto: Tensor, spectra: Tensor, first: int) -> None:
        """Window the frames of `spectra` `[B, F, N]` and add them from frame `first` on."""
        waves = torch.fft.irfft(spectra, n=n_fft)[..., :win] * plan.window
        for j in range(spectra.shape[1]):
            onto[:, (first + j) * hop : (first + j) * hop + win] += waves[:, j]

    def analyse(signal: Tensor, first: int) -> Tensor:
        """STFT of the frames from `first` on of signals `[B, span]`."""
        b = signal.shape[0]
        rows = signal.as_strided(
            (b, held - first, win),
            (signal.stride(0), hop, 1),
            signal.storage_offset() + first * hop,
        )
        part = frames[:b, first:]
        torch.mul(rows, plan.window, out=part[..., :win])
        return torch.fft.rfft(part)

    for step in range(1 - held, longest):
        # Clips are in order of length: those not done yet are the first `b`.
        b = order.active(max(step, 0))
        enters = step + held - 1
        here, wave_cover = buffer[:b], cover[:b]
        target[:b, -1] = 0.0
        arriving = order.active(enters)
        present = torch.zeros_like(wave_cover)
        for j in range(held):
            # A clip's frames that are there: none before its first or after its last.
            if step + j >= 0:
                present[: order.active(step + j), j * hop : j * hop + len(squared)] += squared
        inverse = torch.add(wave_cover, present).clamp_min_(least).reciprocal_()
        if arriving:
            rows = order.rows(enters)
            target[:arriving, -1] = magnitude[rows]
            signal = beneath[:b].clone()
            overlap(signal, here, 0)
            known = analyse(signal.mul_(inverse), held - 1)[:arriving, 0]
            known.add_(torch.polar(torch.full_like(phases[rows], _FAINT), phases[rows]))
            here[:arriving, -1] = impose(target[:arriving, -1], known)
        for _ in range(steps):
            signal = beneath[:b].clone()
            overlap(signal, here, 0)
            here.copy_(impose(target[:b], analyse(signal.mul_(inverse), 0)))
        if step >= 0:
            settled[order.rows(step)] = here[:, 0]
            overlap(beneath[:b], here[:, :1], 0)
            cover[:b, : len(squared)] += squared
            beneath[:b] = torch.nn.functional.pad(beneath[:b, hop:], (0, hop))
            cover[:b] = torch.nn.functional.pad(cover[:b, hop:], (0, hop))
        buffer[:b, :-1] = here[:, 1:].clone()
        buffer[:b, -1] = 0.0
        target[:b, :-1] = target[:b, 1:].clone()
    pack.begin()
    for block in pack.blocks():
        pack.add(block, settled[block])
    pack.finish()
