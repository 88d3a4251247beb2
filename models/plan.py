"""Plan: what depends on the config alone, computed once and kept on the device; and its cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from models.config import MelConfig
from models.filterbank import empty_bands, filterbank
from models.inverse import non_negative_inverse


@dataclass(frozen=True, eq=False)
class Plan:
    """The constants of one config on one device. `F` is the filterbank `[K, N]`."""

    config: MelConfig
    window: Tensor
    """Analysis window `[win_length]`."""
    bank: Tensor
    """`F` transposed, `[N, K]`: magnitudes `[T, N] @ bank` is the mel `[T, K]`."""
    spread: Tensor
    """`S` transposed, `[K, N]`: spreads band values over the bins; a bin's weights sum to 1."""
    pinv: Tensor
    """Moore-Penrose inverse of `F`, transposed, `[K, N]`, to what float32 mels can resolve."""
    band_weight: Tensor
    """`F 1` `[K]`, the mel of a flat spectrum of ones; 1 in place of 0 for empty bands."""
    alive: Tensor
    """`[K]`: 1 for bands that some bin feeds, 0 for empty ones."""
    silence: Tensor
    """`[K]`: the linear mel that the extractor's epsilon or magnitude floor makes of silence."""
    bin_step: Tensor
    """`1 / (F^T F 1)` `[N]`, zero where no band is: steps down `|F x - m|^2 / 2` that never
    overshoot, because the non-negative `F^T F` is at most the diagonal matrix of its row sums."""
    top: float
    """`|F|^2`, the largest eigenvalue of `F^T F`."""
    empty: tuple[int, ...]
    """Bands that no bin feeds."""
    _made: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def inverse(self) -> Tensor:
        """The non-negative inverse of `F`, transposed, `[K, N]`; found when first asked for."""
        with self._making:
            if "inverse" not in self._made:
                found = non_negative_inverse(filterbank(self.config))
                self._made["inverse"] = torch.as_tensor(found, dtype=self.dtype, device=self.device)
            return self._made["inverse"]

    @property
    def nbytes(self) -> int:
        """Bytes held on the device; room for `inverse` is counted before it is found, so that a
        cache's sum stays true.
        """
        values = (getattr(self, f.name) for f in fields(self))
        held = sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))
        return held + self.pinv.numel() * self.pinv.element_size()

    @property
    def device(self) -> torch.device:
        return self.window.device

    @property
    def dtype(self) -> torch.dtype:
        return self.window.dtype


def build_plan(config: MelConfig, device: torch.device, dtype: torch.dtype = torch.float32) -> Plan:
    """Compute a config's constants in float64 and put them on the device."""
    bank = filterbank(config)
    weight = bank.sum(axis=1)
    covered = bank.sum(axis=0)
    spread = np.divide(bank, covered, out=np.zeros_like(bank), where=covered > 0)
    rowsum = bank.T @ weight
    step = np.divide(1.0, rowsum, out=np.zeros_like(rowsum), where=covered > 0)
    # Directions of the bank weaker than this are lost in a float32 mel and would come back as
    # noise: Whisper's first band is 300,000 times weaker than its others.
    resolved = max(bank.shape) * float(np.finfo(np.float32).eps)
    pinv = np.linalg.pinv(bank, rcond=resolved).T * (weight > 0)[:, None] * (covered > 0)
    quiet = np.hypot(config.magnitude_floor, config.magnitude_eps**0.5) ** config.power

    def put(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=dtype, device=device)

    return Plan(
        config=config,
        window=put(config.window_values()),
        bank=put(bank.T),
        spread=put(spread),
        pinv=put(pinv),
        band_weight=put(np.where(weight > 0, weight, 1.0)),
        alive=put((weight > 0).astype(np.float64)),
        silence=put(quiet * weight),
        bin_step=put(step),
        top=float(np.linalg.eigvalsh(bank @ bank.T)[-1]),
        empty=tuple(int(k) for k in empty_bands(bank)),
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
            try:
                plan = build_plan(config, self.device, self.dtype)
            finally:
                with self._lock:
                    self._misses += 1
                    self._building.pop(config, None)
            with self._lock:
                self._keep(plan)
            return plan

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
        self._plans[plan.config] = plan
        self._nbytes += plan.nbytes
        while self._nbytes > self.max_bytes:
            _, oldest = self._plans.popitem(last=False)
            self._nbytes -= oldest.nbytes
            self._evictions += 1
