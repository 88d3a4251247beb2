"""Plan: what depends on the config alone, computed once and kept on the device; and its cache."""

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
from unmel.models.signal.band_tables import Bands, make_bands
from unmel.models.signal.inverse import non_negative_inverse

BAND_STEP = 16
# Bands that an octave is worth a run with, and the highest of its bins, near the end of its band,
# that none of them may reach.
_LEAST_BANDS, _GUARD = 8, 3


@dataclass(frozen=True, eq=False)
class Plan:
    """The constants of one config on one device. `F` is the filterbank `[K, N]`.

    `K` here is the number of bands rounded up to a multiple of `BAND_STEP`: narrower matrix
    products round differently from row to row, and a clip's bits would depend on where it
    stands in a pack. The bands beyond the config's are empty ones.
    """

    config: MelConfig
    window: Tensor
    """Analysis window `[win_length]`."""
    squared_window: Tensor
    """`[overlap, hop_length]`: see `MelConfig.squared_window`."""
    bank: Tensor
    """`F` transposed, `[N, K]`: magnitudes `[T, N] @ bank` is the mel `[T, K]`."""
    spread: Tensor
    """`S` transposed, `[K, N]`: spreads band values over the bins; a bin's weights sum to 1."""
    band_weight: Tensor
    """`F 1` `[K]`, the mel of a flat spectrum of ones; 1 in place of 0 for empty bands."""
    alive: Tensor
    """`[K]`: 1 for bands that some bin feeds, 0 for empty ones."""
    silence: Tensor
    """`[K]`: the linear mel that the extractor's epsilon or magnitude floor makes of silence."""
    bands: Bands
    """The same two as sparse tables: products with a bit pattern that no library chooses."""
    bin_step: Tensor
    """`1 / (F^T F 1)` `[N]`, zero where no band is: steps down `|F x - m|^2 / 2` that never
    overshoot, because the non-negative `F^T F` is at most the diagonal matrix of its row sums."""
    empty: tuple[int, ...]
    """Bands that no bin feeds."""
    n_active_bins: int
    """One beyond the highest bin that a band holds."""
    below: Plan | None
    """The plan of the octave below, at half the rate, with the lowest bands as far as one lies in
    it whole and those that do not as empty ones. None where `MelConfig.octaves` is 0, or where
    few bands are left."""
    _made: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def pinv(self) -> Tensor:
        """Moore-Penrose inverse of `F`, transposed, `[K, N]`; found when first asked for."""
        return self._found("pinv", _pseudo_inverse)

    @property
    def inverse(self) -> Tensor:
        """The non-negative inverse of `F`, transposed, `[K, N]`; found when first asked for."""
        return self._found("inverse", non_negative_inverse)

    @property
    def top(self) -> float:
        """`|F|^2`, the largest eigenvalue of `F^T F`; found when first asked for."""
        return float(self._found("top", _largest_eigenvalue))

    def _found(self, name: str, find: Callable[[Array], Array]) -> Tensor:
        """A result of `find` on `F`, kept."""
        with self._making:
            if name not in self._made:
                found = find(self.bank.t().double().cpu().numpy())
                self._made[name] = torch.as_tensor(found, dtype=self.dtype, device=self.device)
            return self._made[name]

    @property
    def nbytes(self) -> int:
        """Bytes held on the device; room for both inverses is counted before they are found, so
        that a cache's sum stays true.
        """
        values = (getattr(self, f.name) for f in fields(self))
        held = sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))
        held += self.bands.nbytes + 2 * self.bank.numel() * self.bank.element_size()
        return held + (self.below.nbytes if self.below else 0)

    @property
    def device(self) -> torch.device:
        return self.window.device

    @property
    def dtype(self) -> torch.dtype:
        return self.window.dtype


def _widened(bank: Array) -> Array:
    """Empty bands added up to the next multiple of `BAND_STEP`."""
    return np.pad(bank, ((0, -len(bank) % BAND_STEP), (0, 0)))


def _largest_eigenvalue(bank: Array) -> Array:
    """The largest eigenvalue of `F^T F`, as `[1]`."""
    found: Array = np.linalg.eigvalsh(bank @ bank.T)[-1:].astype(np.float64)
    return found


def _pseudo_inverse(bank: Array) -> Array:
    """Pseudo-inverse of `F` `[K, N]`, transposed, with exact zeros where `F` has no band or bin.

    Bands that are nearly sums of others are taken as such: they would only amplify noise.
    """
    found: Array = np.linalg.pinv(bank, rcond=1e-5).T.astype(np.float64)
    found *= (bank.sum(axis=1) > 0)[:, None] & (bank.sum(axis=0) > 0)
    return found


def build_plan(config: MelConfig, device: torch.device, dtype: torch.dtype = torch.float32) -> Plan:
    """Compute a config's constants in float64 and put them on the device."""
    return _plan(config, _widened(filterbank(config)), device, dtype, config.octaves)


def _half(config: MelConfig, n_mels: int) -> MelConfig:
    """The config whose frames are those of `config` at half the rate, sample for sample; its bins
    are the lower half of the bins of `config`, its bands the lowest `n_mels`.
    """
    return config.model_copy(
        update={
            "sample_rate": config.sample_rate // 2,
            "n_fft": config.n_fft // 2,
            "hop_length": config.hop_length // 2,
            "win_length": config.win_length // 2,
            "n_mels": n_mels,
        }
    )


def _below(
    config: MelConfig, bank: Array, device: torch.device, dtype: torch.dtype, octaves: int
) -> Plan | None:
    """The plan of the octave below, and in it those of up to `octaves` - 1 further down."""
    if not octaves:
        return None
    n_bins = config.n_fft // 4 + 1
    fed = np.count_nonzero(bank, axis=1)
    inside = (fed > 0) & (np.count_nonzero(bank[:, : n_bins - _GUARD], axis=1) == fed)
    if np.count_nonzero(inside) < _LEAST_BANDS:
        return None
    n_mels = int(np.flatnonzero(inside)[-1]) + 1
    lower = _widened((bank[:, :n_bins] * inside[:, None])[:n_mels])
    return _plan(_half(config, n_mels), lower, device, dtype, octaves - 1)


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

    return Plan(
        config=config,
        window=put(config.window_values()),
        squared_window=put(config.squared_window()),
        bank=put(bank.T),
        spread=put(spread),
        bands=make_bands(bank, spread, device, dtype),
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
    """What a plan cache has done and holds."""

    hits: int
    misses: int
    evictions: int
    plans: int
    nbytes: int


class PlanCache:
    """Plans by config, bounded in bytes, least recently used out first; safe between threads.

    A plan larger than the bound is handed out without being kept.
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
        """The plan of `config`, built on the first call; two threads never build the same one."""
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
                with self._lock:  # at once, or a thread between the two would build it again
                    self._misses += 1
                    self._building.pop(config, None)
                    if plan is not None:
                        self._keep(plan)

    def __contains__(self, config: MelConfig) -> bool:
        return config in self._plans

    def warm(self, configs: Iterable[MelConfig]) -> None:
        """Build the plans of `configs` ahead of the first request."""
        for config in configs:
            self.get(config)

    @property
    def stats(self) -> CacheStats:
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
        # It is there already if it was evicted while a second thread waited to build it again.
        replaced = self._plans.pop(plan.config, None)
        self._nbytes -= replaced.nbytes if replaced else 0
        self._plans[plan.config] = plan
        self._nbytes += plan.nbytes
        while self._nbytes > self.max_bytes:
            _, oldest = self._plans.popitem(last=False)
            self._nbytes -= oldest.nbytes
            self._evictions += 1
