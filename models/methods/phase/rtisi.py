"""Real-time iterative spectrogram inversion with look-ahead (RTISI-LA), frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.methods.projection import impose, state
from unmel.models.methods.start.starts import synthesize
from unmel.models.signal.clip_order import ClipsByLength
from unmel.models.signal.packed_stft import PackedStft

# Weight of the start phases against the phases from the neighbouring frames: -120 dB of a target.
_FAINT = 1e-6


def rtisi_la(
    pack: PackedStft, magnitude: Tensor, phases: Tensor, n_iter: int, lookahead: int
) -> None:
    """Real-time iterative spectrogram inversion with look-ahead (RTISI-LA).

    A frame enters with the phases of the overlapping signal (its start phases where that is
    silent). It and the `lookahead` frames before it then go through Griffin-Lim steps on top of
    the settled signal, and the oldest frame is settled for good. A frame is in `lookahead + 1`
    rounds, each of `n_iter / (lookahead + 1)` steps rounded up, so that `n_iter` counts steps of a
    frame as in the other methods. The overlap-add is divided by the full envelope, hence fades
    where frames are still to come; the paper's special window for the newest frame is left out.

    Parameters
    ----------
    pack
        Pack of the clips; its signal becomes the result.
    magnitude
        Magnitude `[rows, N]`.
    phases
        Start phases `[rows, N]`, radians.
    n_iter
        Steps of each frame.
    lookahead
        Frames after a frame that are known when it is settled.

    References
    ----------
    X. Zhu, G. T. Beauregard and L. Wyse, "Real-time signal estimation from modified short-time
    Fourier transform magnitude spectra", 2007.
    """
    if n_iter == 0:
        synthesize(pack, magnitude, phases)
        return
    held = lookahead + 1
    rounds = -(-n_iter // held)
    clips = ClipsByLength(pack)
    settled = state(pack)
    buffer = _Buffer(pack, len(clips), held)
    for newest in range(clips.frames[0] + held - 1):
        oldest = newest - held + 1
        buffer.shrink(clips.n_active(max(oldest, 0)))
        if clips.n_active(newest):
            rows = clips.rows(newest)
            buffer.enter(magnitude[rows], phases[rows])
        for _ in range(rounds):
            buffer.improve()
        if oldest >= 0:
            settled[clips.rows(oldest)] = buffer.spectra[:, 0]
        buffer.advance()
    pack.begin()
    for block in pack.blocks():
        pack.add(block, settled[block])
    pack.finish()


class _Buffer:
    """Every clip's frames that are not settled yet, and its settled signal in their range.

    Frames before a clip's first and after its last one are zero, by a magnitude of zero.
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
        self._settled = zeros(span)
        self._frames = zeros(held, self._n_fft)
        envelope = plan.squared_window.sum(dim=0)
        self._inverse = envelope.reciprocal().repeat(held + pack.overlap - 1)

    def shrink(self, clips: int) -> None:
        """Keep the first `clips`."""
        if clips < len(self.spectra):
            self.spectra, self._magnitude = self.spectra[:clips], self._magnitude[:clips]
            self._settled, self._frames = self._settled[:clips], self._frames[:clips]

    def enter(self, magnitude: Tensor, phases: Tensor) -> None:
        """Add a last frame `[B, N]` to the first `B` clips."""
        b = len(magnitude)
        self._magnitude[:b, -1] = magnitude
        faint = torch.polar(torch.full_like(phases, _FAINT), phases)
        self.spectra[:b, -1] = impose(magnitude, self._project()[:b, -1] + faint)

    def improve(self) -> None:
        """One Griffin-Lim step of all frames, on top of the settled signal."""
        self.spectra = impose(self._magnitude, self._project())

    def advance(self) -> None:
        """Settle the first frame and make room for a new last one."""
        self._overlap_add(self._settled, 1)
        for kept, by in ((self._settled, self._hop), (self.spectra, 1), (self._magnitude, 1)):
            kept[:, :-by] = kept[:, by:].clone()
            kept[:, -by:] = 0.0

    def _project(self) -> Tensor:
        """STFT `[clips, held, N]` of the signal of all frames."""
        signal = self._settled.clone()
        held = self.spectra.shape[1]
        self._overlap_add(signal, held)
        signal.mul_(self._inverse)
        rows = signal.as_strided((len(signal), held, self._win), (signal.stride(0), self._hop, 1))
        torch.mul(rows, self._window, out=self._frames[..., : self._win])
        spectra: Tensor = torch.fft.rfft(self._frames)
        return spectra

    def _overlap_add(self, signal: Tensor, count: int) -> None:
        """Add the first `count` frames to the signals `[clips, span]`, the earliest first."""
        waves = torch.fft.irfft(self.spectra[:, :count], n=self._n_fft)[..., : self._win]
        waves = waves * self._window
        for j in range(count):
            signal[:, j * self._hop : j * self._hop + self._win] += waves[:, j]
