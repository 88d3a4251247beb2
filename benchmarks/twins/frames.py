"""The STFT of one clip as its front-end makes it, and the least-squares inverse."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import window
from unmel.models.mel.config import MelConfig

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

# The windows' sum is divided by no less than this share of its mean, as at a late last frame.
_LEAST = 1e-2


class Frames:
    """Frames of a clip `[L]` of a config: `spectrum` and `wave` go to `[N, T]` and back.

    Where `samples` does not say `L`, it is what so many frames stand for. The window has every
    `step`-th value of the config's at so many times the rate.
    """

    def __init__(
        self, config: MelConfig, frames: int, samples: int | None = None, step: int = 1
    ) -> None:
        self.config, self.samples = config, samples or config.samples(frames)
        self.hop, self.n_fft = config.hop_length, config.n_fft
        left = (config.frame_length - config.win_length) // 2
        right = config.n_fft - config.win_length - left
        whole = config.model_copy(update={"win_length": step * config.win_length})
        values = librosa.filters.get_window(window(whole), whole.win_length)[::step]
        self.window: Real = np.pad(values, (left, right))
        self.pad = config.pad
        # Where each frame's samples come from: reflected, or one zero that is put at the end.
        here: NDArray[np.int64] = np.arange(self.samples)
        around: dict[str, Any] = {"mode": "reflect"}
        if config.padding in ("center_constant", "none"):
            around = {"mode": "constant", "constant_values": self.samples}
        end = (frames - 1) * self.hop + config.frame_length - self.pad - self.samples
        places = np.pad(here, (self.pad, max(end, 0)), **around)
        places = np.pad(places, (0, self.n_fft), constant_values=self.samples)
        self.index = np.stack([places[t * self.hop :][: self.n_fft] for t in range(frames)])
        # A clip may be longer than its frames reach, by less than a hop, which is silent.
        support = (frames - 1) * self.hop + self.n_fft
        self._weight = np.zeros(max(support, self.pad + self.samples))
        for t in range(frames):
            self._weight[t * self.hop :][: self.n_fft] += self.window**2
        self._least = _LEAST * (self.window**2).sum() / self.hop

    def spectrum(self, wave: Real) -> Complex:
        """STFT `[N, T]` of a clip `[L]`."""
        rows = np.append(wave, 0.0)[self.index] * self.window
        return np.asarray(np.fft.rfft(rows).T)

    def wave(self, spectrum: Complex) -> Real:
        """The clip `[L]` whose STFT is nearest to `spectrum` `[N, T]` away from the edges."""
        total = np.zeros_like(self._weight)
        for t, row in enumerate(np.fft.irfft(spectrum.T, n=self.n_fft)):
            total[t * self.hop :][: self.n_fft] += self.window * row
        kept = slice(self.pad, self.pad + self.samples)
        return np.asarray(total[kept] / np.maximum(self._weight[kept], self._least))

    def project(self, spectrum: Complex) -> Complex:
        """`P`: the STFT of the inverse STFT."""
        return self.spectrum(self.wave(spectrum))


def onto(magnitude: Real, spectrum: Complex) -> Complex:
    """`P_A`: the phases of `spectrum` with the magnitude."""
    return np.asarray(magnitude * np.exp(1j * np.angle(spectrum)))
