"""The mel step of `consistent` on a GPU: one kernel, which reads and writes each bin once."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from unmel.models.backends import base
from unmel.models.backends.base import BandTables, MelState
from unmel.models.backends.cuda.launch import on

_BANDS = 32  # bands that are summed at once
_BINS_PER_WARP = 512
# Programs that are there at once: each works through many rows in one space of its own, which
# stays in a cache.
_PROGRAMS = 132 * 16
_TINY, _LARGEST_RATIO = tl.constexpr(base.TINY), tl.constexpr(base.LARGEST_RATIO)


class _Tables(NamedTuple):
    """A filterbank's tables on the device, as the kernel takes them."""

    begins: Tensor
    """Lowest bin of each band, and the place of its weights, `[2, K + 1]`."""
    longest: Tensor
    """Bins of the widest of each `_BANDS` bands."""
    weights: Tensor
    """Entries of `F`, band after band."""
    below: Tensor
    """The lower one of each bin's two bands `[W]`."""
    shares: Tensor
    """Weights of each bin's two bands in `S` `[2, W]`."""


_TABLES: WeakKeyDictionary[BandTables, _Tables] = WeakKeyDictionary()


def _tables(bands: BandTables, device: torch.device) -> _Tables:
    """The tables on the device, copied once for each plan."""
    if bands not in _TABLES:
        begins, offsets, weights, below, shares, _ = bands.tables
        widths = np.diff(offsets)
        filled = np.pad(widths, (0, -len(widths) % _BANDS)).reshape(-1, _BANDS)
        both = np.stack([np.append(begins, 0), offsets])
        whole = (both.astype(np.int32), filled.max(axis=1).astype(np.int32), weights, below, shares)
        # Copies that wait: every stream of the device may read the tables from now on.
        _TABLES[bands] = _Tables(
            *(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in whole)
        )
    return _TABLES[bands]


@triton.jit
def _pair(at, held):
    """Real and imaginary parts, zero where they are not `held`; each pair is read whole."""
    both = tl.load(at, mask=held, other=0)
    low = (both & 0xFFFFFFFF).to(tl.uint32)
    high = ((both >> 32) & 0xFFFFFFFF).to(tl.uint32)
    return low.to(tl.float32, bitcast=True), high.to(tl.float32, bitcast=True)


@triton.jit
def _put_pair(at, re, im, held):
    low = re.to(tl.uint32, bitcast=True).to(tl.int64)
    high = im.to(tl.uint32, bitcast=True).to(tl.int64)
    tl.store(at, low | (high << 32), mask=held)


@triton.jit
def _relaxed_magnitude(re, im, past_re, past_im, relaxation, blend, rest):
    """`t` of `R` and what the last step left, `Q`, and `Q / |t|`."""
    to_re, to_im = relaxation * re - past_re, relaxation * im - past_im
    length = tl.sqrt(to_re * to_re + to_im * to_im + _TINY)
    level = tl.maximum(tl.sqrt(re * re + im * im) * blend + length * rest, 0.0)
    return to_re, to_im, level, level / length


@triton.jit
def _raised(values, exponent):
    """`values^exponent`; what is not positive becomes zero, and its logarithm is never taken."""
    raised = tl.exp2(exponent * tl.log2(tl.where(values > 0.0, values, 1.0)))
    return tl.where(values > 0.0, raised, 0.0)


@triton.jit
def _band_factors(
    levels,
    mel,
    bound,
    ratio,
    begins,
    longest,
    weights,
    bands,
    exponent,
    some_bands: tl.constexpr,
):
    """Factor of each band of a row, from the levels of its bins: the mel step up to its power."""
    for group in range((bands + some_bands - 1) // some_bands):
        k = group * some_bands + tl.arange(0, some_bands)
        real = k < bands
        begin = tl.load(begins + k, mask=real, other=0)
        offset = tl.load(begins + bands + 1 + k, mask=real, other=0)
        wide = tl.load(begins + bands + 2 + k, mask=real, other=0) - offset
        sums = tl.full([some_bands], 0.0, tl.float32)
        # A band's bins from its lowest to its highest, those of all bands at once.
        for m in range(tl.load(longest + group)):
            held = m < wide
            weight = tl.load(weights + offset + m, mask=held, other=0.0)
            sums += weight * tl.load(levels + begin + m, mask=held, other=0.0)
        target = tl.load(mel + k, mask=real, other=0.0)
        is_bound = tl.load(bound + k, mask=real, other=0)
        found = tl.minimum(target / (sums + _TINY), tl.where(is_bound != 0, 1.0, _LARGEST_RATIO))
        found = tl.where(exponent == 1.0, found, _raised(found, exponent))
        tl.store(ratio + k, found, mask=real)


@triton.jit(do_not_specialize=["rows", "bands", "all_bands", "width", "count", "low"])
def _step(
    here,
    past,
    mel,
    bound,
    begins,
    longest,
    weights,
    below,
    shares,
    space,
    coefficients,
    counter,
    rows,
    bands,
    all_bands,
    width,
    count,
    low,
    power,
    kind: tl.constexpr,
    some_bands: tl.constexpr,
    bins: tl.constexpr,
):
    """The next `C` of rows in place, and what the next step subtracts; a row's bins at once."""
    numbers = coefficients + 8 * tl.load(counter)
    relaxation, blend, rest = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2)
    exponent, keep, reflect = tl.load(numbers + 3), tl.load(numbers + 4), tl.load(numbers + 5)
    n = tl.arange(0, bins)
    held = n < count
    lower = tl.load(below + n, mask=held, other=0)
    upper = tl.minimum(lower + 1, bands - 1)
    own_share = tl.load(shares + n, mask=held, other=0.0)
    next_share = tl.load(shares + count + n, mask=held, other=0.0)
    levels = space + tl.program_id(0) * (count + bands)
    ratio = levels + count
    for number in range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.full([], 0, tl.int64) + number
        spectrum, state = here + row * width + low + n, past + row * count + n
        re, im = _pair(spectrum, held)
        past_re, past_im = _pair(state, held)
        to_re, to_im, level, quotient = _relaxed_magnitude(
            re, im, past_re, past_im, relaxation, blend, rest
        )
        if kind == 2:
            level = level * level
        if kind == 0:
            level = _raised(level, power)
        tl.store(levels + n, level, mask=held)
        tl.debug_barrier()  # what other threads of the program have stored
        _band_factors(
            levels,
            mel + row * all_bands,
            bound + row * all_bands,
            ratio,
            begins,
            longest,
            weights,
            bands,
            exponent,
            some_bands,
        )
        tl.debug_barrier()
        gain = tl.load(ratio + lower, mask=held, other=0.0) * own_share
        gain += tl.load(ratio + upper, mask=held, other=0.0) * next_share
        factor = gain * quotient
        to_re, to_im = to_re * factor, to_im * factor
        _put_pair(spectrum, to_re, to_im, held)
        _put_pair(state, keep * re + reflect * to_re, keep * im + reflect * to_im, held)
        # Bins that no band holds become zero.
        whole = here + row * width
        tl.store(whole + n, tl.full([bins], 0, tl.int64), mask=n < low)
        for start in range(low + count, width, bins):
            tl.store(whole + start + n, tl.full([bins], 0, tl.int64), mask=start + n < width)
        tl.debug_barrier()  # before the next row's levels take the place of these


def programs(rows: int) -> int:
    """Programs for a pack of so many rows."""
    return min(rows, _PROGRAMS)


def space(rows: int, bands: BandTables, like: Tensor) -> Tensor:
    """Space of the kernel's own for a pack of so many rows."""
    return like.new_empty(programs(rows) * (bands.count + len(bands.tables[0])))


def apply(
    state: MelState, spectrum: Tensor, own: Tensor, coefficients: Tensor, counter: Tensor
) -> None:
    """The mel step on a pack's spectrum `[rows, N]`.

    Parameters
    ----------
    state
        The pack's; its `momentum` is written.
    spectrum
        `R`, and then the next `C`.
    own
        From `space`.
    coefficients
        Of each iteration, eight places for `StepCoefficients`, `[n, 8]`.
    counter
        Which iteration it is, `[1]` int32.

    """
    bands, target = state.bands, state.target
    rows, width = spectrum.shape
    block = max(int(triton.next_power_of_2(bands.count)), _BANDS)
    with on(spectrum):
        _step[(programs(rows),)](
            torch.view_as_real(spectrum).view(torch.int64),
            torch.view_as_real(state.momentum).view(torch.int64),
            target.mel,
            target.prepared,
            *_tables(bands, spectrum.device),
            own,
            coefficients,
            counter,
            rows,
            len(bands.tables[0]),
            target.mel.stride(0),
            width,
            bands.count,
            bands.first,
            state.power,
            # One kernel for all other powers: each that is compiled takes a second.
            kind=int(state.power) if state.power in (1, 2) else 0,
            some_bands=_BANDS,
            bins=block,
            num_warps=min(max(block // _BINS_PER_WARP, 1), 8),
        )
