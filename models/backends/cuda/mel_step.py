"""The mel step of `consistent` on a GPU: one kernel, which reads and writes each bin once."""

from __future__ import annotations

from functools import lru_cache
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
_ZEROS = 128  # bins that become zero at once
# Programs of a processor at once: each works through many rows in one space of its own, which stays
# in a cache.
_PROGRAMS = 32
_TINY, _LARGEST_RATIO = tl.constexpr(base.TINY), tl.constexpr(base.LARGEST_RATIO)
_LEAST = tl.constexpr(1e-37)  # makes of a square of zero no quotient of zeros


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
        made = _Tables(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in whole))
        # A graph reads them where they are: of two lanes the first one's stay.
        _TABLES.setdefault(bands, made)
    return _TABLES[bands]


@triton.jit
def _pair(at, held, whole: tl.constexpr):
    """Real and imaginary parts, zero where they are not `held`; each pair is read at once."""
    both = tl.load(at) if whole else tl.load(at, mask=held, other=0)
    low = (both & 0xFFFFFFFF).to(tl.uint32)
    high = ((both >> 32) & 0xFFFFFFFF).to(tl.uint32)
    return low.to(tl.float32, bitcast=True), high.to(tl.float32, bitcast=True)


@triton.jit
def _put_pair(at, re, im, held, whole: tl.constexpr):
    low = re.to(tl.uint32, bitcast=True).to(tl.int64)
    high = im.to(tl.uint32, bitcast=True).to(tl.int64)
    if whole:
        tl.store(at, low | (high << 32))
    else:
        tl.store(at, low | (high << 32), mask=held)


@triton.jit
def _raised(values, exponent):
    """`values^exponent`; what is not positive becomes zero, and its logarithm is never taken."""
    raised = tl.exp2(exponent * tl.log2(tl.where(values > 0.0, values, 1.0)))
    return tl.where(values > 0.0, raised, 0.0)


@triton.jit
def _beyond(
    spectrum, state, levels, n, held, numbers, power, kind: tl.constexpr, whole: tl.constexpr
):
    """`R`, `t` of it and of what the last step left, and `Q / |t|`; `Q^p` into `levels`."""
    relaxation, blend, rest = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2)
    re, im = _pair(spectrum + n, held, whole)
    past_re, past_im = _pair(state + n, held, whole)
    to_re, to_im = relaxation * re - past_re, relaxation * im - past_im
    beyond, here = to_re * to_re + to_im * to_im + _TINY, re * re + im * im
    inverse = tl.rsqrt(beyond)
    level = here * tl.rsqrt(here + _LEAST) * blend + beyond * inverse * rest
    level = tl.maximum(level, 0.0)
    quotient = level * inverse
    if kind == 2:
        level = level * level
    if kind == 0:
        level = _raised(level, power)
    if whole:
        tl.store(levels + n, level)
    else:
        tl.store(levels + n, level, mask=held)
    return re, im, to_re, to_im, quotient


@triton.jit
def _weighted(levels, weights, begin, offset, wide, m):
    """The `m`-th bin of each band, times its weight."""
    held = m < wide
    weight = tl.load(weights + (offset + m), mask=held, other=0.0)
    return weight * tl.load(levels + (begin + m), mask=held, other=0.0)


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
        first = tl.full([some_bands], 0.0, tl.float32)
        second, third, fourth = first, first, first
        # Four sums, which do not wait for each other.
        for m in range(0, tl.load(longest + group), 4):
            first += _weighted(levels, weights, begin, offset, wide, m)
            second += _weighted(levels, weights, begin, offset, wide, m + 1)
            third += _weighted(levels, weights, begin, offset, wide, m + 2)
            fourth += _weighted(levels, weights, begin, offset, wide, m + 3)
        target = tl.load(mel + k, mask=real, other=0.0)
        is_bound = tl.load(bound + k, mask=real, other=0)
        sums = (first + second) + (third + fourth) + _TINY
        found = tl.minimum(target / sums, tl.where(is_bound != 0, 1.0, _LARGEST_RATIO))
        found = tl.where(exponent == 1.0, found, _raised(found, exponent))
        tl.store(ratio + k, found, mask=real)


@triton.jit
def _correct(
    spectrum,
    state,
    ratio,
    below,
    shares,
    n,
    held,
    re,
    im,
    to_re,
    to_im,
    quotient,
    numbers,
    bands,
    count,
    whole: tl.constexpr,
):
    """The next `C` of some bins, and what the next step subtracts."""
    keep, reflect = tl.load(numbers + 4), tl.load(numbers + 5)
    if whole:
        lower = tl.load(below + n)
        own, other = tl.load(shares + n), tl.load(shares + count + n)
    else:
        lower = tl.load(below + n, mask=held, other=0)
        own = tl.load(shares + n, mask=held, other=0.0)
        other = tl.load(shares + count + n, mask=held, other=0.0)
    # A bin of the last band alone has no share of the next one, whose place is there all the same.
    factor = (tl.load(ratio + lower) * own + tl.load(ratio + lower + 1) * other) * quotient
    to_re, to_im = to_re * factor, to_im * factor
    _put_pair(spectrum + n, to_re, to_im, held, whole)
    next_re, next_im = keep * re + reflect * to_re, keep * im + reflect * to_im
    _put_pair(state + n, next_re, next_im, held, whole)


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
    more: tl.constexpr,
    zeros: tl.constexpr,
):
    """The next `C` of rows in place, and what the next step subtracts; a row's bins at once.

    A row's bins are `bins`, and up to `more` further ones.
    """
    numbers = coefficients + 8 * tl.load(counter)
    exponent = tl.load(numbers + 3)
    a, b, z = tl.arange(0, bins), bins + tl.arange(0, more), tl.arange(0, zeros)
    held = b < count
    levels = space + tl.program_id(0) * (count + bands + 1)
    ratio = levels + count
    tl.store(ratio + bands, 0.0)
    for number in range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.full([], 0, tl.int64) + number
        whole = here + row * width
        spectrum, state = whole + low, past + row * count
        re, im, to_re, to_im, quotient = _beyond(
            spectrum, state, levels, a, held, numbers, power, kind, whole=True
        )
        re_b, im_b, to_re_b, to_im_b, quotient_b = _beyond(
            spectrum, state, levels, b, held, numbers, power, kind, whole=False
        )
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
        _correct(
            *(spectrum, state, ratio, below, shares, a, held, re, im, to_re, to_im, quotient),
            *(numbers, bands, count),
            whole=True,
        )
        _correct(
            *(spectrum, state, ratio, below, shares, b, held, re_b, im_b, to_re_b, to_im_b),
            *(quotient_b, numbers, bands, count),
            whole=False,
        )
        # Bins that no band holds become zero.
        for start in range(0, low, zeros):
            tl.store(whole + start + z, tl.full([zeros], 0, tl.int64), mask=start + z < low)
        for start in range(low + count, width, zeros):
            tl.store(whole + start + z, tl.full([zeros], 0, tl.int64), mask=start + z < width)
        tl.debug_barrier()  # before the next row's levels take the place of these


@lru_cache(maxsize=16)
def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 2
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def programs(rows: int, device: torch.device) -> int:
    """Programs for a pack of so many rows."""
    return min(rows, _PROGRAMS * _processors(device))


def space(rows: int, bands: BandTables, like: Tensor) -> Tensor:
    """Space of the kernel's own for a pack of so many rows."""
    return like.new_empty(programs(rows, like.device) * (bands.count + len(bands.tables[0]) + 1))


def sizes(count: int) -> tuple[int, int, int]:
    """Sizes of a kernel for so many bins in bands, few of each, and its warps.

    Parameters
    ----------
    count
        Bins that the bands hold.

    Returns
    -------
    tuple of int
        Bins, the largest power of two; further ones, as many as are left or some more; warps. Each
        is a power of two, and a kernel of other sizes is compiled where it is first met.
    """
    bins = 1 << (count.bit_length() - 1)
    left = count - bins
    more = min(n for n in (min(32, bins), max(bins // 4, 1), max(bins // 2, 1), bins) if n >= left)
    warps = min(max((bins + more) // _BINS_PER_WARP, 1), 8)
    return bins, more, 1 << (warps.bit_length() - 1)


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
    bins, more, warps = sizes(bands.count)
    with on(spectrum):
        _step[(programs(rows, spectrum.device),)](
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
            bins=bins,
            more=more,
            zeros=_ZEROS,
            num_warps=warps,
        )
