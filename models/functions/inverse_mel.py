"""`InverseMel`: a module to put where `InverseMelScale` and `GriffinLim` stood."""

from __future__ import annotations

import warnings
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

from unmel.models.engine import shared
from unmel.models.errors import Invalid
from unmel.models.functions.arrays import host_array, samples_like
from unmel.models.functions.invert_mels import Choice, Config, compute, config_of, recipe_of
from unmel.models.methods import DEFAULT_QUALITY, Quality


class InverseMel(nn.Module):
    """Mels `[..., K, T]` to samples `[..., L]`, as one pack; no gradient passes.

    It has no parameters and an empty state, so that it changes no checkpoint. `.to(device)`
    selects where it computes: a GPU, or the CPU for every other device.

    Parameters
    ----------
    config
        How the mels are made: a preset's name, a `MelConfig`, or its members as a dict.
    quality
        Amount of computation: `draft`, `standard` or `high`; times are 1 : 5 : 20.
    seed
        Seed of the first phases of every mel: a result does not depend on its batch.
    **choice
        Further options of the method, as of `invert`.

    Raises
    ------
    Invalid
        An option cannot be used.
    pydantic.ValidationError
        Likewise for the members of a config.

    Examples
    --------
    >>> to_audio = InverseMel("vocos-24k", quality="draft")
    >>> to_audio(torch.full((2, 1, 100, 50), -16.0)).shape
    torch.Size([2, 1, 12544])
    """

    _where: Tensor

    def __init__(
        self,
        config: Config,
        quality: Quality = DEFAULT_QUALITY,
        seed: int = 0,
        **choice: Unpack[Choice],
    ) -> None:
        super().__init__()
        self.config, self.quality, self.seed = config_of(config), quality, seed
        self.recipe = recipe_of(self.config, quality, choice)
        # It goes where the module goes, and into no state.
        self.register_buffer("_where", torch.empty(0), persistent=False)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the samples, Hz."""
        return self.config.sample_rate

    def forward(self, mel: Tensor, length: int | None = None) -> Tensor:
        """Samples of mels.

        Parameters
        ----------
        mel
            Stored values `[..., K, T]`.
        length
            Samples `L` of each, a number that has `T` frames.

        Returns
        -------
        Tensor
            Samples `[..., L]` on the mel's device, full scale at 1.

        Raises
        ------
        Invalid
            The mel is none of the config, or no sample has that length.
        """
        if mel.ndim < 2:
            shape = "x".join(map(str, mel.shape)) or "a single number"
            raise Invalid("mel", f"shape {shape}", f"[..., {self.config.n_mels}, frames]")
        values = host_array(mel)
        batch = values.reshape(-1, *values.shape[-2:])
        device = self._where.device if self._where.device.type == "cuda" else "cpu"
        made, noted = compute(
            shared(device),
            list(batch),
            self.config,
            self.recipe,
            self.seed,
            lengths=[length] * len(batch),
            layout="bands_first",
            numbered=len(batch) > 1,
        )
        for text in noted:
            warnings.warn(text, stacklevel=2)
        samples = self.config.length_for(values.shape[-1], length)
        stacked = np.stack(made) if made else np.zeros((0, samples), np.float32)
        return samples_like(stacked.reshape(*values.shape[:-2], samples), mel)

    def extra_repr(self) -> str:
        config = self.config
        return f"{config.n_mels} bands, {config.sample_rate} Hz, quality={self.quality}"
