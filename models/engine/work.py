"""Work: what an engine runs, what it is run with, and what comes of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import Backend
from unmel.models.engine.memory import row_bytes
from unmel.models.errors import NonFiniteOutput
from unmel.models.mel.config import MelConfig
from unmel.models.methods.recipe import Recipe
from unmel.models.signal.plan import PlanCache

Values = NDArray[np.float32] | NDArray[np.complex64]
"""Samples `[L]`, full scale at 1; linear magnitude or complex STFT `[N, T]`; or a mel."""
NOT_FINITE = "the reconstruction is not finite"


@dataclass(frozen=True)
class Resources:
    """An engine's means, lent to the work that it runs."""

    plans: PlanCache
    backend: Backend
    pack_bytes: int
    """Bytes of memory that a pack may take."""

    def rows(self, config: MelConfig, recipe: Recipe) -> int:
        """Rows that a pack may have."""
        return self.pack_bytes // row_bytes(config, recipe)


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a piece of work."""

    values: Values
    warnings: tuple[str, ...] = ()


class Work(Protocol):
    """A reconstruction, a stream's step or an analysis."""

    @property
    def config(self) -> MelConfig: ...

    @property
    def key(self) -> Hashable:
        """Work of one key is of one kind and can share a pack."""

    @property
    def speed_key(self) -> Hashable:
        """Work of one key is computed at one speed."""

    @property
    def frames(self) -> int:
        """Frames that it makes or takes."""

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that it makes."""

    @property
    def rows(self) -> int:
        """Rows of a pack that it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""

    @property
    def cost(self) -> float:
        """Work in units that grow as the time does, whatever the method."""

    def compute(self, resources: Resources, pack: Sequence[Self]) -> list[Result]:
        """The results of a pack of one key, of which it is the first."""


def finite(values: Tensor) -> Values:
    """Values of the host as numpy's; NonFiniteOutput if they are not all finite."""
    found: Values
    if values.is_complex():
        found = np.ascontiguousarray(values.numpy(), np.complex64)
    else:
        found = np.ascontiguousarray(values.numpy(), np.float32)
    if not np.isfinite(found).all():
        raise NonFiniteOutput(NOT_FINITE)
    return found


def plan_warnings(empty: tuple[int, ...]) -> tuple[str, ...]:
    """The warning of a plan some of whose bands hold no bin."""
    if not empty:
        return ()
    bands = ", ".join(map(str, empty[:8])) + (" ..." if len(empty) > 8 else "")
    return (
        f"{len(empty)} of the mel bands hold no bin of the transform and were left out: {bands}",
    )
