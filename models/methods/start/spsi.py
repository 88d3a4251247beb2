"""Single-pass start phases: each spectral peak turns at its own frequency from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unmel.models.signal.clip_order import Order
from unmel.models.signal.packed_stft import PackedStft


def spsi(pack: PackedStft, magnitude: Tensor, seeds: Sequence[int], turn: float) -> Tensor:
    """Single-pass spectrogram inversion: a peak's phase advances by its interpolated frequency,
    and the bins around it are locked to it.

    Beauregard, Harish and Wyse 2015. A parabola through a peak bin `j` and its neighbours puts
    the peak at `j + p`; its phase advances by `2 pi (j + p) hop / n_fft` from what bin `j` had a
    frame before. The bins down to the troughs on both sides take the peak's phase as counted
    from the window's middle, turned by half a circle where the Hann window's transform is
    negative. Phases start at zero and `seeds` and `turn` go unused.
    """
    config = pack.plan.config
    owner, distance, frequency = _peaks(magnitude)
    # In turns, in float64: float32 would forget the fraction of a long clip's phase.
    advance = torch.remainder(frequency * (config.hop_length / config.n_fft), 1.0)
    flips = _negative(distance * (config.win_length / config.n_fft)).to(torch.float64) * 0.5
    out = torch.zeros(magnitude.shape, dtype=torch.float64, device=magnitude.device)
    order = Order(pack)
    turns = torch.zeros(len(order), magnitude.shape[1], dtype=torch.float64, device=out.device)
    for t in range(order.frames[0]):
        rows = order.rows(t)
        b, mine = len(rows), owner[rows]
        if t:
            turns[:b] += advance[rows]
        turns[:b] = torch.remainder(turns[:b].gather(1, mine) + flips[rows], 1.0)
        out[rows] = turns[:b]
    bins = torch.arange(magnitude.shape[1], dtype=torch.float64, device=out.device)
    middle = bins * (config.win_length // 2) / config.n_fft
    return torch.remainder(out - middle, 1.0).mul_(2.0 * torch.pi).to(pack.plan.dtype)


def _peaks(magnitude: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For every bin the peak that it belongs to, its distance from the peak in bins, and at a
    peak's own bin the peak's place; bins that rise or fall to no peak belong to themselves.
    """
    rows, n_bins = magnitude.shape
    here = magnitude.to(torch.float64)
    bins = torch.arange(n_bins, device=magnitude.device).expand(rows, -1)
    below, above = here[:, :-2], here[:, 2:]
    middle = here[:, 1:-1]
    peak = torch.zeros(magnitude.shape, dtype=torch.bool, device=magnitude.device)
    peak[:, 1:-1] = (middle > below) & (middle > above)
    place = bins.to(torch.float64).clone()
    bend = below - 2.0 * middle + above
    shift = 0.5 * (below - above) / torch.where(bend == 0, 1.0, bend)
    place[:, 1:-1] += torch.where(peak[:, 1:-1], shift, 0.0)
    before = torch.where(peak, bins, -1).cummax(dim=1).values
    after = torch.where(peak, bins, n_bins).flip(1).cummin(dim=1).values.flip(1)
    # Down to the trough it is the peak before, from the trough on the peak after, if there is one.
    falling = torch.zeros_like(peak)
    falling[:, 1:-1] = (middle < below) & ((middle >= above) | (after[:, 1:-1] == n_bins))
    falling[:, 0] = here[:, 0] >= here[:, 1]
    falling[:, -1] = here[:, -1] < here[:, -2]
    owner = torch.where(peak, bins, torch.where(falling, before, after))
    owner = torch.where((owner < 0) | (owner == n_bins), bins, owner)
    return owner, bins - place.gather(1, owner), place


def _negative(widths: Tensor) -> Tensor:
    """Where the transform of a Hann window, `widths` of 1/win away from its peak, is negative:
    between the second and third zero, the fourth and fifth, and so on.
    """
    zero = widths.abs().floor()
    return (zero >= 2) & (zero % 2 == 0)
