"""Plan: the constants of a config, computed once and kept on the device; and a cache of plans."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from unmel.models.mel.config import MelConfig
from unmel.models.mel.filterbank import Array, empty_bands, filterbank
from unmel.models.mel.own_filterbank import is_banded
from unmel.models.signal.band_tables import Bands, DenseBands, make_bands
from unmel.models.signal.pack_tables import hop_table

BAND_STEP = 16
# Fewest bands of an octave that is run, and its highest bins, which none of the bands may hold.
_MIN_BANDS, _GUARD_BINS = 8, 3


@dataclass(frozen=True, eq=False)
class Plan:
    """The constants of one config on one device; `F` is the filterbank `[K, N]`.

    `K` is the number of bands rounded up to a multiple of `BAND_STEP` by empty bands: narrower
    matrix products round differently from row to row, and the bits of a clip would depend on its
    place in a pack.
    """

    config: MelConfig
    window: Tensor
    """Analysis window `[win_length]`."""
    squared_window: Tensor
    """Squared window `[overlap, hop_length]`: see `MelConfig.squared_window`."""
    inverse_hops: Tensor
    """Hops of a pack's inverse window envelope `[2 overlap, hop_length]`: see `hop_table`."""
    bank: Tensor
    """`F` transposed, `[N, K]`: `magnitudes @ bank` is the mel `[T, K]`."""
    spread: Tensor
    """`S` transposed, `[K, N]`: `F` with the weights of each bin scaled to a sum of 1."""
    band_weight: Tensor
    """`F 1` `[K]`, the mel of a flat spectrum of ones; 1 for empty bands."""
    alive: Tensor
    """1 for bands with a bin, 0 for empty ones, `[K]`."""
    silence: Tensor
    """Linear mel of silence `[K]`, by the extractor's epsilon or magnitude floor."""
    bands: Bands | DenseBands
    """Products with `bank` and `spread` whose sums have a fixed order, by sparse tables where
    `is_banded` allows them."""
    bin_step: Tensor
    """`1 / (F^T F 1)` `[N]`, zero outside the bands: gradient steps on `|F x - m|^2 / 2` that never
    overshoot, because the diagonal matrix of the row sums of `F^T F >= 0` bounds it."""
    empty: tuple[int, ...]
    """Indices of the bands without a bin."""
    n_active_bins: int
    """Number of bins up to the highest one in a band."""
    below: Plan | None
    """The plan of the octave below, at half the rate; None where `MelConfig.octaves` is 0 or few
    bands are left. Its bands are the lowest ones up to the last that lies in it whole; those that
    do not lie in it whole are empty."""
    _lazy: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _lazy_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def pinv(self) -> Tensor:
        """Moore-Penrose inverse of `F`, transposed, `[K, N]`; computed at the first use."""
        return self._computed("pinv", _pseudo_inverse)

    @property
    def largest_eigenvalue(self) -> float:
        """The largest eigenvalue of `F^T F`; computed at the first use."""
        return float(self._computed("largest_eigenvalue", _largest_eigenvalue))

    def _computed(self, name: str, function: Callable[[Array], Array]) -> Tensor:
        """The result of `function` on `F`, kept."""
        with self._lazy_lock:
            if name not in self._lazy:
                values = function(self.bank.t().double().cpu().numpy())
                self._lazy[name] = torch.as_tensor(values, dtype=self.dtype, device=self.device)
            return self._lazy[name]

    @property
    def nbytes(self) -> int:
        """Bytes on the device and of the config, the pseudo-inverse counted from the start."""
        values = (getattr(self, f.name) for f in fields(self))
        tensors = sum(v.nbytes for v in values if isinstance(v, Tensor))
        below = self.below.nbytes if self.below else 0
        kept = self.bands.nbytes + self.bank.nbytes + self.config.filterbank_bytes
        return tensors + kept + below

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.window.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the floating-point tensors."""
        return self.window.dtype


def _widened(bank: Array) -> Array:
    """The bank with empty bands up to the next multiple of `BAND_STEP`."""
    return np.pad(bank, ((0, -len(bank) % BAND_STEP), (0, 0)))


def _largest_eigenvalue(bank: Array) -> Array:
    """The largest eigenvalue of `F^T F`, as `[1]`."""
    return np.asarray(np.linalg.eigvalsh(bank @ bank.T)[-1:], np.float64)


def _pseudo_inverse(bank: Array) -> Array:
    """Pseudo-inverse of `F` `[K, N]`, transposed, with exact zeros in empty bands and bins.

    Bands that are nearly sums of others count as dependent: otherwise they amplify noise.
    """
    held = (bank.sum(axis=1) > 0)[:, None] & (bank.sum(axis=0) > 0)
    return np.asarray(np.linalg.pinv(bank, rcond=1e-5).T * held, np.float64)


def build_plan(config: MelConfig, device: torch.device, dtype: torch.dtype = torch.float32) -> Plan:
    """Compute a config's constants in float64 and copy them to a device.

    Parameters
    ----------
    config
        The mel config.
    device
        Device of the plan's tensors.
    dtype
        Type of its floating-point tensors.
    """
    return _plan(config, _widened(filterbank(config)), device, dtype, config.octaves)


def _below(
    config: MelConfig, bank: Array, device: torch.device, dtype: torch.dtype, octaves: int
) -> Plan | None:
    """The plan of the octave below, which holds those of up to `octaves` - 1 further down."""
    if not octaves:
        return None
    n_bins = config.n_fft // 4 + 1
    widths = np.count_nonzero(bank, axis=1)
    inside = np.count_nonzero(bank[:, : n_bins - _GUARD_BINS], axis=1) == widths
    inside &= widths > 0
    if np.count_nonzero(inside) < _MIN_BANDS:
        return None
    n_mels = int(np.flatnonzero(inside)[-1]) + 1
    lower = _widened((bank[:, :n_bins] * inside[:, None])[:n_mels])
    return _plan(config.halved(n_mels), lower, device, dtype, octaves - 1)


def _plan(
    config: MelConfig, bank: Array, device: torch.device, dtype: torch.dtype, octaves: int
) -> Plan:
    weight = bank.sum(axis=1)
    covered = bank.sum(axis=0)
    spread = np.divide(bank, covered, out=np.zeros_like(bank), where=covered > 0)
    rowsum = bank.T @ weight
    step = np.divide(1.0, rowsum, out=np.zeros_like(rowsum), where=covered > 0)
    quiet = np.hypot(config.magnitude_floor, config.magnitude_eps**0.5) ** config.power

    def put(values: np.ndarray) -> Tensor:
        return torch.tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

    columns, rows = put(bank.T), put(spread)
    banded = is_banded(bank)
    return Plan(
        config=config,
        window=put(config.window_values()),
        squared_window=put(config.squared_window()),
        inverse_hops=put(hop_table(config)),
        bank=columns,
        spread=rows,
        bands=make_bands(bank, spread, device, dtype) if banded else DenseBands(columns, rows),
        band_weight=put(np.where(weight > 0, weight, 1.0)),
        alive=put((weight > 0).astype(np.float64)),
        silence=put(quiet * weight),
        bin_step=put(step),
        empty=tuple(int(k) for k in empty_bands(bank[: config.n_mels])),
        n_active_bins=int(np.flatnonzero(covered > 0).max(initial=-1)) + 1,
        below=_below(config, bank, device, dtype, octaves),
    )


@dataclass(frozen=True)
class CacheStats:
    """Counters and contents of a plan cache."""

    hits: int
    misses: int
    evictions: int
    plans: int
    nbytes: int


class PlanCache:
    """Plans by config, bounded in bytes, with least-recently-used eviction; thread-safe.

    A plan larger than the bound is returned and not kept.

    Parameters
    ----------
    device
        Device of the plans.
    max_bytes
        Bound of the sum of `Plan.nbytes`.
    dtype
        Type of the plans' floating-point tensors.
    """

    def __init__(
        self,
        device: torch.device,
        max_bytes: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.dtype, self.max_bytes = device, dtype, max_bytes
        self._plans: OrderedDict[MelConfig, Plan] = OrderedDict()
        self._building: dict[MelConfig, threading.Lock] = {}
        self._lock = threading.Lock()
        self._hits = self._misses = self._evictions = self._nbytes = 0

    def get(self, config: MelConfig) -> Plan:
        """The plan of a config, built by the first call; concurrent calls wait for one build."""
        with self._lock:
            plan = self._find(config)
            if plan is not None:
                return plan
            building = self._building.setdefault(config, threading.Lock())
        with building:
            with self._lock:
                plan = self._find(config)
                if plan is not None:
                    return plan
            plan = None
            try:
                plan = build_plan(config, self.device, self.dtype)
                return plan
            finally:
                with self._lock:  # both under one lock, or a thread in between would build it again
                    self._misses += 1
                    self._building.pop(config, None)
                    if plan is not None:
                        self._keep(plan)

    def __contains__(self, config: MelConfig) -> bool:
        return config in self._plans

    def warm(self, configs: Iterable[MelConfig]) -> None:
        """Build the plans of configs ahead of the first request."""
        for config in configs:
            self.get(config)

    @property
    def stats(self) -> CacheStats:
        """Current counters and contents."""
        with self._lock:
            return CacheStats(
                self._hits, self._misses, self._evictions, len(self._plans), self._nbytes
            )

    def _find(self, config: MelConfig) -> Plan | None:
        plan = self._plans.get(config)
        if plan is not None:
            self._plans.move_to_end(config)
            self._hits += 1
        return plan

    def _keep(self, plan: Plan) -> None:
        if plan.nbytes > self.max_bytes:
            return
        # The plan is there already if it was evicted while a second thread waited to build it.
        replaced = self._plans.pop(plan.config, None)
        self._nbytes -= replaced.nbytes if replaced else 0
        self._plans[plan.config] = plan
        self._nbytes += plan.nbytes
        while self._nbytes > self.max_bytes:
            _, oldest = self._plans.popitem(last=False)
            self._nbytes -= oldest.nbytes
            self._evictions += 1
