"""Start phases in a single pass: each spectral peak advances at its own frequency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unmel.models.mel.window import SHAPES, Window
from unmel.models.signal.clip_order import ClipsByLength
from unmel.models.signal.packed_stft import PackedStft


def spsi(pack: PackedStft, magnitude: Tensor, seeds: Sequence[int], turn: float) -> Tensor:
    """Single-pass spectrogram inversion: peaks advance by their interpolated frequency.

    A parabola through a peak bin `j` and its neighbours places the peak at `j + p`; its phase
    advances by `2 pi (j + p) hop / n_fft` from that of bin `j` in the frame before. The bins down
    to the troughs on both sides are locked to the peak's phase at the window's middle, plus half
    a circle where the window's transform is negative. Phases start at zero.

    Parameters
    ----------
    pack
        Pack of the clips.
    magnitude
        Magnitude `[rows, N]`.
    seeds
        Unused.
    turn
        Unused.

    Returns
    -------
    Tensor
        Phases `[rows, N]`, radians, counted from the first sample of a frame's window.

    References
    ----------
    G. T. Beauregard, M. Harish and L. Wyse, "Single pass spectrogram inversion", 2015.
    """
    config = pack.plan.config
    owner, distance, frequency = _peaks(magnitude)
    # In turns and in float64: float32 would lose the fraction of a long clip's phase.
    advance = torch.remainder(frequency * (config.hop_length / config.n_fft), 1.0)
    negative = _negative(config.window, distance * (config.win_length / config.n_fft))
    flips = negative.to(torch.float64) * 0.5
    out = torch.zeros(magnitude.shape, dtype=torch.float64, device=magnitude.device)
    clips = ClipsByLength(pack)
    turns = torch.zeros(len(clips), magnitude.shape[1], dtype=torch.float64, device=out.device)
    for t in range(clips.frames[0]):
        rows = clips.rows(t)
        b = len(rows)
        if t:
            turns[:b] += advance[rows]
        turns[:b] = torch.remainder(turns[:b].gather(1, owner[rows]) + flips[rows], 1.0)
        out[rows] = turns[:b]
    bins = torch.arange(magnitude.shape[1], dtype=torch.float64, device=out.device)
    middle = bins * (config.win_length // 2) / config.n_fft
    return torch.remainder(out - middle, 1.0).mul_(2.0 * torch.pi).to(pack.plan.dtype)


def _peaks(magnitude: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each bin's peak, its distance from the peak in bins, and at a peak its exact position.

    A bin on a slope without a peak is its own peak.
    """
    rows, n_bins = magnitude.shape
    here = magnitude.to(torch.float64)
    bins = torch.arange(n_bins, device=magnitude.device).expand(rows, -1)
    below, above = here[:, :-2], here[:, 2:]
    middle = here[:, 1:-1]
    peak = torch.zeros(magnitude.shape, dtype=torch.bool, device=magnitude.device)
    peak[:, 1:-1] = (middle > below) & (middle > above)
    position = bins.to(torch.float64).clone()
    curvature = below - 2.0 * middle + above
    shift = 0.5 * (below - above) / torch.where(curvature == 0, 1.0, curvature)
    position[:, 1:-1] += torch.where(peak[:, 1:-1], shift, 0.0)
    before = torch.where(peak, bins, -1).cummax(dim=1).values
    after = torch.where(peak, bins, n_bins).flip(1).cummin(dim=1).values.flip(1)
    # Down to the trough the owner is the peak before, beyond it the peak after, if there is one.
    falling = torch.zeros_like(peak)
    falling[:, 1:-1] = (middle < below) & ((middle >= above) | (after[:, 1:-1] == n_bins))
    falling[:, 0] = here[:, 0] >= here[:, 1]
    falling[:, -1] = here[:, -1] < here[:, -2]
    owner = torch.where(peak, bins, torch.where(falling, before, after))
    owner = torch.where((owner < 0) | (owner == n_bins), bins, owner)
    return owner, bins - position.gather(1, owner), position


def _negative(window: Window, widths: Tensor) -> Tensor:
    """Whether a window's transform is negative at `widths` of 1/win from its peak.

    It is between its first two zeros (Hann's are 2 and 3), the next two, and so on.
    """
    zero, first = widths.abs().floor(), SHAPES[window].first_negative
    return (zero >= first) & (zero % 2 == first % 2)
