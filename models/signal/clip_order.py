"""Clips by length, for what must go through all of a pack's clips frame by frame at once."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.transfer import upload


class Order:
    """A pack's clips, longest first: those that have a frame `t` are always the first few."""

    def __init__(self, pack: PackedStft) -> None:
        self.clips = sorted(range(len(pack.clips)), key=lambda k: -pack.clips[k][0])
        self.frames = [pack.clips[k][0] for k in self.clips]
        starts = [pack.starts[k] for k in self.clips]
        [self._starts] = upload([torch.tensor(starts)], pack.plan.device)

    def __len__(self) -> int:
        return len(self.clips)

    def active(self, t: int) -> int:
        """How many clips have a frame `t`; they are the first ones."""
        count = len(self.frames)
        while count and self.frames[count - 1] <= t:
            count -= 1
        return count

    def rows(self, t: int) -> Tensor:
        """The pack's rows of frame `t` of the clips that have one."""
        return self._starts[: self.active(t)] + t
