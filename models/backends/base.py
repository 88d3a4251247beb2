"""Backend: the few operations that methods ask of whatever computes a pack, and what they take.

Methods call `pack.backend` and never ask which one it is. On a CPU results are bit-stable within a
backend: a clip's bits depend neither on what it is packed with nor on where it stands. Between
backends they differ in the last digits; tests hold each one to a float64 twin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Name = Literal["torch", "numba", "triton"]
Places = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Spectra = NDArray[np.complex64]
Keys = NDArray[np.uint32]
Lists = tuple[NDArray[np.int32], Places, NDArray[np.int32], Floats]
Tables = tuple[Places, Places, Floats, NDArray[np.int32], Floats, Lists]

# |t|^2 may be this small before its phase is taken as nothing; targets are of the order of 1.
TINY = 1e-20

# Periods of neighbouring frames that differ by a larger factor are not of one glide.
JUMP = 1.25

# Random phases hash bin after bin: bins lie a step apart (2^32 over the golden ratio, odd), and two
# factors mix (Chris Wellons' lowbias32, from "Prospecting for hash functions", 2018).
BIN_STEP, FIRST_FACTOR, SECOND_FACTOR = 0x9E3779B9, 0x7FEB352D, 0x846CA68B

# A band whose prediction is this many times too small is corrected no further in one step; without
# a limit a band that the signal has emptied would be multiplied past the range of a float.
LARGEST_RATIO = 1e4


class StepCoefficients(NamedTuple):
    """The numbers of one iteration, in the symbols of `consistent`."""

    relaxation: float
    """`1 + a + m`."""
    blend: float
    """`b`."""
    rest: float
    """`1 - b`."""
    exponent: float
    """`g / p`."""
    keep: float
    """`a` of the next iteration."""
    reflect: float
    """`m` of the next iteration."""


@dataclass(frozen=True, eq=False)
class MelTarget:
    """The mel that a pack's iterations correct towards; an octave's bands are its first ones."""

    mel: Tensor
    """Linear `[rows, K]`."""
    bound: Tensor
    """`[rows, K]` bool: where `mel` is an upper bound and no level."""
    prepared: Any = None
    """Both as the backend that made this takes them."""


class BandTables(Protocol):
    """Products with a filterbank; bins `[W]` count from `first`. See `signal.band_tables`."""

    @property
    def first(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def inside(self) -> slice: ...

    @property
    def banded(self) -> bool: ...

    @property
    def tables(self) -> Tables: ...

    def sums(self, values: Tensor) -> Tensor: ...

    def spread(self, values: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class MelState:
    """State of a pack's iterations beside its signal."""

    target: MelTarget
    kept: Tensor
    """Complex: `momentum`, each axis filled up to a multiple of the backend's `state_multiple`."""
    bands: BandTables
    power: float
    """`p` of the mel, which is of `|X|^p`."""

    @property
    def momentum(self) -> Tensor:
        """Complex `[rows, W]`, from the pack's first row on: `a R_prev + m C`; read and written."""
        return self.kept[:, : self.bands.count]


class Islands(NamedTuple):
    """Loud bins whose phases are integrated from their neighbours'; flat arrays."""

    order: Places
    """Seeds, the loudest first."""
    negative_level: Doubles
    """Minus the level of each bin: the smallest comes first."""
    along: Doubles
    """Half the phase's slope over frames."""
    across: Doubles
    """Half the phase's slope over bins."""
    todo: NDArray[np.bool_]
    """Bins that have no phase yet; written."""
    phase: Doubles
    """Radians; written."""
    width: int
    """Bins of a row."""


class Framed(Protocol):
    """A signal of which there are frames, one every `hop` samples."""

    @property
    def n_fft(self) -> int: ...

    @property
    def hop(self) -> int: ...

    @property
    def signal(self) -> Tensor: ...

    @property
    def window(self) -> Tensor: ...


class Pack(Framed, Protocol):
    """Packed STFT as a backend sees it; `signal.packed_stft` describes each part."""

    @property
    def used(self) -> int: ...

    @property
    def inverse_envelope(self) -> Tensor: ...

    @property
    def carry(self) -> Tensor: ...

    @property
    def extents(self) -> Sequence[tuple[int, int, int]]: ...

    @property
    def clip_rows(self) -> Tensor: ...

    @property
    def sums(self) -> tuple[Tensor, Tensor]: ...

    @property
    def edges(self) -> tuple[Tensor, Tensor]: ...

    @property
    def pins(self) -> tuple[Tensor, Tensor]: ...

    def begin(self, raw: Tensor | None = None) -> None: ...

    def runs(self) -> Iterator[slice]: ...

    def spectrum(self, block: slice) -> Tensor: ...

    def add(self, block: slice, spectrum: Tensor) -> None: ...

    def finish(self) -> None: ...


class Backend(ABC):
    """The operations on packs; an engine chooses one backend before its first pack."""

    name: Name
    """The name that `UNMEL_BACKEND` knows it by."""
    state_multiple: int
    """The axes of `MelState.kept` are multiples of it."""

    @property
    @abstractmethod
    def fft(self) -> str:
        """The libraries of its transforms."""

    @abstractmethod
    def spectrum(self, pack: Framed, rows: slice) -> Tensor:
        """Spectra `[T, N]` of the windowed frames of a pack's signal; the caller's own."""

    @abstractmethod
    def overlap_add(self, pack: Pack, first: int, spectrum: Tensor) -> None:
        """Transform spectra back, window, overlap-add and scale them.

        Frames are added to a sample from the earliest to the latest, whatever the blocks: a float
        sum depends on its order, and a clip's must not depend on where it stands.

        Parameters
        ----------
        pack
            Its `carry` has the sums of the hops that later frames still reach, and its `sums` say
            where finished samples go and what each is multiplied by.
        first
            Row of the first spectrum.
        spectrum
            Complex `[T, N]`; it stays as it is.

        """

    @abstractmethod
    def restore_edges(self, pack: Pack) -> None:
        """Copy samples of a pack's signal to its edges, none of them from where another goes."""

    @abstractmethod
    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """A target as `run_stage` takes it, from `mel` and `bound` `[rows, K]`."""

    @abstractmethod
    def run_stage(
        self,
        pack: Pack,
        state: MelState,
        steps: Sequence[StepCoefficients],
        into: Tensor | None = None,
    ) -> None:
        """Iterate from a pack's signal to its signal: a pair of transforms and a mel step each.

        Parameters
        ----------
        pack
            The pack.
        state
            Its target is from this backend's `mel_target`.
        steps
            Coefficients of each iteration.
        into
            For a single iteration: where the sums go, as with `PackedStft.begin`.

        """

    @abstractmethod
    def filtered(self, pack: Pack, taps: Floats) -> Tensor:
        """A pack's signal through a linear-phase filter, each clip as if alone; zero beside them.

        Parameters
        ----------
        pack
            The pack; its signal stays as it is.
        taps
            `[2 H + 1]`, the same from both ends.

        """

    @abstractmethod
    def comb(self, pack: Pack, band: Tensor, periods: Tensor, shares: Tensor) -> None:
        """Make a band of a pack's signal more like itself a period earlier and later.

        With the band `h`, period `P` and share `v` of each sample, `x += v ((h(t - P) + h(t + P))
        / 2 - h(t))`, by cubic interpolation. `P` and `v` are linear between the middles of frames;
        where neighbours' periods are further apart than by a quarter the nearer one's is taken.

        Parameters
        ----------
        pack
            The pack; its edges are not restored.
        band
            From `filtered`.
        periods
            `[rows]` in samples.
        shares
            `[rows]`, zero where nothing is changed.

        """

    @abstractmethod
    def draw(self, keys: Tensor, step: float, out: Tensor) -> None:
        """Draw random phases: the same on every device, whatever stands beside a row.

        With a row's keys `a` and `b` the phase of bin `n` is `step` times the upper half of `x`,

            x = a + n BIN_STEP
            x = (x ^ x >> 16) FIRST_FACTOR + b
            x = (x ^ x >> 15) SECOND_FACTOR

        in integers of 32 bits without a sign, rounded to float32.

        Parameters
        ----------
        keys
            Int32 `[T, 2]`, the bits of `a` and `b`; a row without phases has two zeros.
        step
            Radians, a number of float32.
        out
            `[T, N]`, written; zero in rows without phases.

        """

    @abstractmethod
    def polar(self, out: Tensor, magnitude: Tensor, phases: Tensor, bins: slice) -> None:
        """Make of `magnitude` and `phases` `[T, N]` those bins of a spectrum `[T, up to N]`."""

    @abstractmethod
    def spread(self, bands: BandTables, values: Tensor, out: Tensor) -> None:
        """Spread band values `[T, K]` over their bins of `out` `[T, N]`; other bins are zero."""

    @abstractmethod
    def grow_islands(self, islands: Islands) -> None:
        """Integrate phases over islands of loud bins, the loudest first."""
