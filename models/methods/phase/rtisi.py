"""Frame after frame: real-time iterative spectrogram inversion with look-ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.methods.projection import impose, state
from unmel.models.methods.start.starts import synthesize
from unmel.models.signal.clip_order import Order
from unmel.models.signal.packed_stft import PackedStft

# What is known of a frame from its neighbours, against its start phases: -120 dB of a target.
_FAINT = 1e-6


def rtisi_la(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, lookahead: int
) -> None:
    """Real-time iterative spectrogram inversion with look-ahead: a frame's phase is settled from
    the frames before it and a few after it, and never touched again.

    Zhu, Beauregard and Wyse 2007. A frame enters with the phase that the frames there already
    give it (its start phase where they are silent); then it and the `lookahead` frames before it
    go through Griffin-Lim steps on the settled signal beneath them, and the oldest is settled. A
    frame is in `lookahead + 1` rounds, each of `n_iter / (lookahead + 1)` steps rounded up, so
    that `n_iter` is the number of steps that a frame goes through, as in the other methods. The
    overlap-add is divided by the full windows' envelope, so that it fades where frames are still
    to come; the paper's special window for the newest frame is left out.
    """
    if n_iter == 0:
        synthesize(pack, magnitude, phases)
        return
    held = lookahead + 1
    rounds = -(-n_iter // held)
    order = Order(pack)
    settled = state(pack)
    buffer = _Buffer(pack, len(order), held)
    for newest in range(order.frames[0] + held - 1):
        oldest = newest - held + 1
        # Clips stand in order of length: those that are not done are the first ones.
        buffer.shrink(order.active(max(oldest, 0)))
        if order.active(newest):
            rows = order.rows(newest)
            buffer.enter(magnitude[rows], phases[rows])
        for _ in range(rounds):
            buffer.improve()
        if oldest >= 0:
            settled[order.rows(oldest)] = buffer.spectra[:, 0]
        buffer.advance()
    pack.begin()
    for block in pack.blocks():
        pack.add(block, settled[block])
    pack.finish()


class _Buffer:
    """The frames that are not settled yet, of every clip, over the signal of those that are.

    Frames before a clip's first and after its last have a magnitude of zero, hence are zero.
    """

    def __init__(self, pack: PackedStft, clips: int, held: int) -> None:
        plan, self._hop, self._win = pack.plan, pack.hop, pack.win
        self._n_fft, self._window = plan.config.n_fft, plan.window
        n_bins = plan.config.n_bins
        span = (held + pack.overlap - 1) * self._hop

        def zeros(*shape: int, dtype: torch.dtype = plan.dtype) -> Tensor:
            return torch.zeros(clips, *shape, dtype=dtype, device=plan.device)

        self.spectra = zeros(held, n_bins, dtype=pack.complex_dtype)
        self._magnitude = zeros(held, n_bins)
        self._beneath = zeros(span)
        self._frames = zeros(held, self._n_fft)
        envelope = plan.squared_window.sum(dim=0)
        self._inverse = envelope.reciprocal().repeat(held + pack.overlap - 1)

    def shrink(self, clips: int) -> None:
        """Keep the first `clips`."""
        if clips < len(self.spectra):
            self.spectra, self._magnitude = self.spectra[:clips], self._magnitude[:clips]
            self._beneath, self._frames = self._beneath[:clips], self._frames[:clips]

    def enter(self, magnitude: Tensor, phases: Tensor) -> None:
        """A new last frame `[B, N]`, of the first `B` clips."""
        b = len(magnitude)
        self._magnitude[:b, -1] = magnitude
        known = self._project()[:b, -1]
        known = known + torch.polar(torch.full_like(phases, _FAINT), phases)
        self.spectra[:b, -1] = impose(magnitude, known)

    def improve(self) -> None:
        """One Griffin-Lim step of all the frames, on what is settled."""
        self.spectra = impose(self._magnitude, self._project())

    def advance(self) -> None:
        """Settle the first frame and make room for a new last one."""
        self._overlap_add(self._beneath, 1)
        for kept, by in ((self._beneath, self._hop), (self.spectra, 1), (self._magnitude, 1)):
            kept[:, :-by] = kept[:, by:].clone()
            kept[:, -by:] = 0.0

    def _project(self) -> Tensor:
        """STFT of the signal of all frames, `[clips, held, N]`."""
        signal = self._beneath.clone()
        held = self.spectra.shape[1]
        self._overlap_add(signal, held)
        signal.mul_(self._inverse)
        rows = signal.as_strided((len(signal), held, self._win), (signal.stride(0), self._hop, 1))
        torch.mul(rows, self._window, out=self._frames[..., : self._win])
        spectra: Tensor = torch.fft.rfft(self._frames)
        return spectra

    def _overlap_add(self, signal: Tensor, count: int) -> None:
        """Add the first `count` frames to signals `[clips, span]`, the earliest first."""
        waves = torch.fft.irfft(self.spectra[:, :count], n=self._n_fft)[..., : self._win]
        waves = waves * self._window
        for j in range(count):
            signal[:, j * self._hop : j * self._hop + self._win] += waves[:, j]
