"""The mel step of `consistent` on a GPU: a pass for the band ratios, then the correction."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from unmel.models.backends import base
from unmel.models.backends.base import BandTables, MelState, StepCoefficients
from unmel.models.backends.cuda.launch import on

_ROWS, _BANDS = 8, 16  # rows and bands that one program sums
_BINS = 512  # bins of a row that one program corrects
_TINY, _LARGEST_RATIO = tl.constexpr(base.TINY), tl.constexpr(base.LARGEST_RATIO)


class _Tables(NamedTuple):
    """A filterbank's tables on the device, as these loops take it."""

    begins: Tensor
    offsets: Tensor
    weights: Tensor
    longest: Tensor
    """`[K / _BANDS]`: bins of the widest of the bands that a program sums."""
    below: Tensor
    shares: Tensor


_TABLES: WeakKeyDictionary[BandTables, _Tables] = WeakKeyDictionary()


def _tables(bands: BandTables, device: torch.device) -> _Tables:
    """The tables on the device, copied once for each plan."""
    if bands not in _TABLES:
        begins, offsets, weights, below, shares, _ = bands.tables
        widths = np.diff(offsets)
        filled = np.pad(widths, (0, -len(widths) % _BANDS)).reshape(-1, _BANDS)
        whole = (begins, offsets, weights, filled.max(axis=1))
        found = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in whole]
        spreading = [torch.from_numpy(a).to(device) for a in (below, shares)]
        _TABLES[bands] = _Tables(*found, *spreading)
    return _TABLES[bands]


@triton.jit
def _parts(at, held):
    """Real and imaginary parts, zero where they are not `held`."""
    return tl.load(at, mask=held, other=0.0), tl.load(at + 1, mask=held, other=0.0)


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


@triton.jit(do_not_specialize=["rows", "bands", "all_bands", "width", "count", "low"])
def _ratios(
    here,
    past,
    mel,
    bound,
    begins,
    offsets,
    weights,
    longest,
    ratio,
    rows,
    bands,
    all_bands,
    width,
    count,
    low,
    relaxation,
    blend,
    rest,
    exponent,
    power,
    kind: tl.constexpr,
    some_rows: tl.constexpr,
    some_bands: tl.constexpr,
):
    """Factors of each row's bands: the mel step up to its power."""
    row = (tl.program_id(0) * some_rows + tl.arange(0, some_rows)).to(tl.int64)[:, None]
    k = tl.program_id(1) * some_bands + tl.arange(0, some_bands)
    real = k < bands
    begin = tl.load(begins + k, mask=real, other=0)
    offset = tl.load(offsets + k, mask=real, other=0)
    wide = tl.load(offsets + k + 1, mask=real, other=0) - offset
    spectrum = here + 2 * (row * width + low + begin[None, :])
    state = past + 2 * (row * count + begin[None, :])
    total = tl.full([some_rows, some_bands], 0.0, tl.float32)
    # A band's bins from its lowest to its highest, those of all bands at once.
    for m in range(tl.load(longest + tl.program_id(1)).to(tl.int32)):
        held = (m < wide)[None, :] & (row < rows)
        re, im = _parts(spectrum + 2 * m, held)
        past_re, past_im = _parts(state + 2 * m, held)
        _, _, level, _ = _relaxed_magnitude(re, im, past_re, past_im, relaxation, blend, rest)
        if kind == 2:
            level = level * level
        if kind == 0:
            level = _raised(level, power)
        weight = tl.load(weights + offset + m, mask=m < wide, other=0.0)
        total += weight[None, :] * level
    there = (row < rows) & real[None, :]
    target = tl.load(mel + row * all_bands + k[None, :], mask=there, other=0.0)
    is_bound = tl.load(bound + row * all_bands + k[None, :], mask=there, other=0)
    limit = tl.where(is_bound != 0, 1.0, _LARGEST_RATIO)
    found = tl.minimum(target / (total + _TINY), limit)
    found = tl.where(exponent == 1.0, found, _raised(found, exponent))
    tl.store(ratio + row * bands + k[None, :], found, mask=there)


@triton.jit(do_not_specialize=["bands", "width", "count", "low"])
def _correct(
    here,
    past,
    ratio,
    below,
    shares,
    bands,
    width,
    count,
    low,
    relaxation,
    blend,
    rest,
    keep,
    reflect,
    some_bins: tl.constexpr,
):
    """The next `C` of a row in place, and what the next step subtracts."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * some_bins + tl.arange(0, some_bins)
    n = column - low
    held = (n >= 0) & (n < count)
    spectrum, state = here + 2 * (row * width + column), past + 2 * (row * count + n)
    re, im = _parts(spectrum, held)
    past_re, past_im = _parts(state, held)
    to_re, to_im, _, quotient = _relaxed_magnitude(
        re, im, past_re, past_im, relaxation, blend, rest
    )
    k = tl.load(below + n, mask=held, other=0)
    own = tl.load(ratio + row * bands + k, mask=held, other=0.0)
    next_one = tl.load(ratio + row * bands + tl.minimum(k + 1, bands - 1), mask=held, other=0.0)
    gain = own * tl.load(shares + n, mask=held, other=0.0)
    gain += next_one * tl.load(shares + count + n, mask=held, other=0.0)
    factor = gain * quotient
    to_re, to_im = to_re * factor, to_im * factor
    # Bins that no band holds have been read as zero, and become it.
    tl.store(spectrum, to_re, mask=column < width)
    tl.store(spectrum + 1, to_im, mask=column < width)
    tl.store(state, keep * re + reflect * to_re, mask=held)
    tl.store(state + 1, keep * im + reflect * to_im, mask=held)


def apply(state: MelState, spectrum: Tensor, step: StepCoefficients) -> None:
    """The mel step on a pack's spectrum `[rows, N]`."""
    bands, target = state.bands, state.target
    rows, width = spectrum.shape
    tables = _tables(bands, spectrum.device)
    count, k, mel, bound = bands.count, len(tables.begins), target.mel, target.prepared
    here, past = torch.view_as_real(spectrum), torch.view_as_real(state.momentum)
    ratio = torch.empty(rows, k, dtype=torch.float32, device=spectrum.device)
    sizes = (k, mel.stride(0), width, count, bands.first)
    with on(spectrum):
        _ratios[triton.cdiv(rows, _ROWS), triton.cdiv(k, _BANDS)](
            here,
            past,
            mel,
            bound,
            tables.begins,
            tables.offsets,
            tables.weights,
            tables.longest,
            ratio,
            rows,
            *sizes,
            step.relaxation,
            step.blend,
            step.rest,
            step.exponent,
            state.power,
            # One kernel for all other powers: each that is compiled takes a second.
            kind=int(state.power) if state.power in (1, 2) else 0,
            some_rows=_ROWS,
            some_bands=_BANDS,
        )
        _correct[rows, triton.cdiv(width, _BINS)](
            here,
            past,
            ratio,
            tables.below,
            tables.shares,
            k,
            width,
            count,
            bands.first,
            step.relaxation,
            step.blend,
            step.rest,
            step.keep,
            step.reflect,
            some_bins=_BINS,
        )
