"""Clips by length, for methods that process all clips of a pack frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

from unmel.models.signal.packed_stft import PackedStft
from unmel.models.signal.transfer import upload


class ClipsByLength:
    """A pack's clips, longest first: the clips with a frame `t` are always the first few.

    Parameters
    ----------
    pack
        The pack of the clips.
    """

    def __init__(self, pack: PackedStft) -> None:
        order = sorted(range(len(pack.clips)), key=lambda k: -pack.clips[k][0])
        self.frames = [pack.clips[k][0] for k in order]
        """Frames of each clip, descending."""
        starts = torch.tensor([pack.starts[k] for k in order])
        [self._starts] = upload([starts], pack.plan.device)

    def __len__(self) -> int:
        return len(self.frames)

    def n_active(self, t: int) -> int:
        """Number of clips with a frame `t`."""
        return sum(frames > t for frames in self.frames)

    def rows(self, t: int) -> Tensor:
        """Rows in the pack of frame `t`, of the clips that have one."""
        return self._starts[: self.n_active(t)] + t
