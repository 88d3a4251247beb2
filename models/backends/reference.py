"""The torch backend: every operation in torch, on any device; what the other backends replace.

On a CPU powers, roots, sines and cosines are numpy's: torch computes the last few elements of an
array by another routine than the others, so that a clip's bits would depend on its place.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unmel.models.backends.base import (
    BIN_STEP,
    FIRST_FACTOR,
    JUMP,
    LARGEST_RATIO,
    SECOND_FACTOR,
    TINY,
    Backend,
    BandTables,
    Floats,
    Framed,
    Islands,
    MelState,
    MelTarget,
    Name,
    Pack,
    StepCoefficients,
)

T = TypeVar("T", Tensor, NDArray[np.int32])


def squared_magnitude(spectrum: Tensor) -> Tensor:
    """`|X|^2`; complex `abs` takes seven times as long on a CPU."""
    parts = torch.view_as_real(spectrum)
    return parts[..., 0].square() + parts[..., 1].square()


def square_root_(values: Tensor) -> Tensor:
    """The square root in place."""
    if values.device.type != "cpu":
        return values.sqrt_()
    np.sqrt(values.numpy(), out=values.numpy())
    return values


def raised(values: Tensor, power: float) -> Tensor:
    """`values^power` for values that are not negative: themselves at 1, one product at 2."""
    if power == 1:
        return values
    return values * values if power == 2 else pow_nonnegative(values, power)


def root_(values: Tensor, power: float) -> Tensor:
    """`|x|` of values `|x|^p`, the inverse of `raised`; they may be overwritten."""
    if power == 1:
        return values
    return square_root_(values) if power == 2 else pow_nonnegative(values, 1.0 / power)


def pow_nonnegative(values: Tensor, exponent: float) -> Tensor:
    """`values^exponent` for values that are not negative; zero stays zero."""
    if values.device.type != "cpu":
        return torch.pow(values, exponent)
    array = values.numpy()
    return torch.from_numpy(np.power(array, array.dtype.type(exponent)))


# Samples that a comb is added to at once: some thirty floats of memory each.
_AT_ONCE = 2**21


def _neighbours(band: Tensor, n: Tensor, lag: Tensor, first: Tensor, end: Tensor) -> Tensor:
    """Mean of a band `lag` earlier and later than samples `n`, zero outside `first` to `end`."""
    whole = lag.floor()
    f, step = lag - whole, whole.long()
    total = torch.zeros_like(lag)
    for way in (-1, 1):
        near = []
        for k in (-1, 0, 1, 2):
            place = n + way * (step + k)
            held = (place >= first) & (place < end)
            near.append(torch.where(held, band[place.clamp_(0, len(band) - 1)], 0.0))
        a, b, c, d = near
        bend = 2 * a - 5 * b + 4 * c - d
        total += b + 0.5 * f * (c - a + f * (bend + f * (3 * (b - c) + d - a)))
    return total.mul_(0.5)


def _signed(number: int) -> int:
    """The int32 that has the bits of a number of 32 bits without a sign."""
    return (number + 2**31) % 2**32 - 2**31


_BIN_STEP, _FIRST, _SECOND = map(_signed, (BIN_STEP, FIRST_FACTOR, SECOND_FACTOR))
_DRAWN_ROWS = 128  # rows of random phases whose passes stay in a core's cache


def _directions(first: T, second: T, places: T) -> T:
    """Upper halves of `x` of `Backend.draw`, by torch's int32 or numpy's; memory of two arrays."""
    x = first + places
    x ^= _shifted(x, 16)
    x *= _FIRST
    x += second
    x ^= _shifted(x, 15)
    x *= _SECOND
    return _shifted(x, 16)


def _shifted(x: T, bits: int) -> T:
    """`x >> bits` without the sign that it fills up with."""
    high = x >> bits
    high &= 2 ** (32 - bits) - 1
    return high


class TorchBackend(Backend):
    """Torch on any device, in single or double precision."""

    name: Name = "torch"
    state_multiple = 1

    def __init__(self, fft: str = "torch") -> None:
        self._fft = fft

    @property
    def fft(self) -> str:
        """The libraries of its transforms."""
        return self._fft

    def spectrum(self, pack: Framed, rows: slice) -> Tensor:
        """See `Backend.spectrum`."""
        count, hop = rows.stop - rows.start, pack.hop
        frames = pack.signal.as_strided((count, len(pack.window)), (hop, 1), rows.start * hop)
        spectrum: Tensor = torch.fft.rfft(frames * pack.window, n=pack.n_fft)
        return spectrum

    def overlap_add(self, pack: Pack, first: int, spectrum: Tensor) -> None:
        """See `Backend.overlap_add`."""
        frames = torch.fft.irfft(spectrum, n=pack.n_fft)
        count, ahead, hop, window = len(frames), len(pack.carry), pack.hop, pack.window
        into, scale = pack.sums
        total = into.new_zeros(count + ahead, hop)
        total[:ahead] = pack.carry
        for r in range(ahead, -1, -1):
            part = slice(r * hop, min((r + 1) * hop, len(window)))
            total[r : r + count, : part.stop - part.start] += frames[:, part] * window[part]
        done = slice(first * hop, (first + count) * hop)
        torch.mul(total[:count].view(-1), scale[done], out=into[done])
        pack.carry.copy_(total[count:])

    def restore_edges(self, pack: Pack) -> None:
        """See `Backend.restore_edges`."""
        targets, sources = pack.edges
        if targets.numel():
            pack.signal[targets] = pack.signal[sources]

    def mel_target(self, mel: Tensor, bound: Tensor) -> MelTarget:
        """See `Backend.mel_target`."""
        return MelTarget(mel, bound)

    def apply_mel_step(
        self, state: MelState, row: int, spectrum: Tensor, step: StepCoefficients
    ) -> None:
        """Make of `R` `[T, N]`, in place, the next `C` of `consistent`."""
        block, bands, target = slice(row, row + len(spectrum)), state.bands, state.target
        past = torch.view_as_real(state.momentum[block])
        inside = spectrum[:, bands.inside]
        parts = torch.view_as_real(inside)
        beyond = parts * step.relaxation - past
        length = square_root_(squared_magnitude(torch.view_as_complex(beyond)).add_(TINY))
        level = square_root_(squared_magnitude(inside)).mul_(step.blend)
        level.add_(length * step.rest).clamp_min_(0.0)
        quotient = level / length
        sums = bands.sums(raised(level, state.power))
        mel, bound = (rows[block, : sums.shape[1]] for rows in (target.mel, target.bound))
        ratio = torch.minimum(mel / sums.add_(TINY), torch.where(bound, 1.0, LARGEST_RATIO))
        if step.exponent != 1.0:
            ratio = pow_nonnegative(ratio, step.exponent)
        corrected = beyond.mul_(bands.spread(ratio).mul_(quotient).unsqueeze(-1))
        torch.add(parts * step.keep, corrected * step.reflect, out=past)
        spectrum.zero_()
        parts.copy_(corrected)

    def run_stage(
        self,
        pack: Pack,
        state: MelState,
        steps: Sequence[StepCoefficients],
        into: Tensor | None = None,
    ) -> None:
        """See `Backend.run_stage`."""
        for step in steps:
            pack.begin(into)
            for run in pack.runs():
                spectrum = pack.spectrum(run)
                self.apply_mel_step(state, run.start, spectrum, step)
                pack.add(run, spectrum)
            pack.finish()

    def filtered(self, pack: Pack, taps: Floats) -> Tensor:
        """See `Backend.filtered`."""
        signal, half, count = pack.signal, len(taps) // 2, pack.used * pack.hop
        # The clips one after the other with zeros between, as many as the filter reaches.
        gaps = (pack.clip_rows[0] * half).repeat_interleave(pack.hop)
        apart = torch.arange(count, device=signal.device) + gaps
        size, weights = count + half * len(pack.extents), taps.tolist()
        spread = signal.new_zeros(size + half)
        spread[apart + half] = signal[:count]
        out = spread[half:size] * weights[half]
        for k in range(1, half + 1):
            pair = spread[half - k : size - k] + spread[half + k : size + k]
            out += pair.mul_(weights[half + k])
        found = torch.zeros_like(signal)
        found[:count] = out[apart]
        return found

    def comb(self, pack: Pack, band: Tensor, periods: Tensor, shares: Tensor) -> None:
        """See `Backend.comb`."""
        hop, device = pack.hop, pack.signal.device
        parts = []
        for begin in range(0, pack.used * hop, _AT_ONCE):
            n = torch.arange(begin, min(begin + _AT_ONCE, pack.used * hop), device=device)
            _, start, frames, rows = pack.clip_rows[:, n // hop]
            place = (n - start * hop - len(pack.window) // 2).clamp_min(0)
            place = torch.minimum(place, (frames - 1) * hop)
            row = torch.minimum(place // hop, (frames - 2).clamp_min(0))
            weight = (place - row * hop).to(band.dtype) / hop
            after = start + torch.minimum(row + 1, frames - 1)
            row = row + start
            here, there, v = periods[row], periods[after], shares[row]
            apart = torch.maximum(here, there) > torch.minimum(here, there) * JUMP
            nearer = torch.where(weight < 0.5, here, there)
            lag = torch.where(apart, nearer, here + weight * (there - here))
            near = _neighbours(band, n, lag, start * hop, (start + rows) * hop)
            share = v + weight * (shares[after] - v)
            parts.append(share * (near - band[begin : begin + len(n)]))
        pack.signal[: pack.used * hop] += torch.cat(parts)

    def draw(self, keys: Tensor, step: float, out: Tensor) -> None:
        """See `Backend.draw`."""
        first, second = keys[:, :1], keys[:, 1:]
        scale = (keys != 0).any(dim=1, keepdim=True).to(torch.float32) * step
        places = torch.arange(out.shape[1], dtype=torch.int32, device=out.device) * _BIN_STEP
        if out.device.type != "cpu":
            torch.mul(_directions(first, second, places), scale, out=out)
            return
        # numpy's integers are twice as fast as torch's.
        into, bins = out.numpy(), places.numpy()
        a, b, weights = (np.ascontiguousarray(x.numpy()) for x in (first, second, scale))
        for begin in range(0, len(into), _DRAWN_ROWS):
            block = slice(begin, begin + _DRAWN_ROWS)
            drawn = _directions(a[block], b[block], bins).astype(np.float32)
            np.multiply(drawn, weights[block], out=into[block])

    def polar(self, out: Tensor, magnitude: Tensor, phases: Tensor, bins: slice) -> None:
        """See `Backend.polar`."""
        angles, part = phases[..., bins], magnitude[..., bins]
        if angles.device.type == "cpu":
            cosine, sine = (torch.from_numpy(f(angles.numpy())) for f in (np.cos, np.sin))
        else:
            cosine, sine = torch.cos(angles), torch.sin(angles)
        out[..., bins] = torch.complex(cosine.mul_(part), sine.mul_(part))

    def spread(self, bands: BandTables, values: Tensor, out: Tensor) -> None:
        """See `Backend.spread`."""
        out.zero_()[:, bands.inside] = bands.spread(values)

    def grow_islands(self, islands: Islands) -> None:
        """See `Backend.grow_islands`."""
        order, negative_level, along, across, todo, phase, width = islands
        # Python's own lists and floats: three times as fast in a loop as numpy's scalars.
        level, time, bins = negative_level.tolist(), along.tolist(), across.tolist()
        wanted, found = todo.tolist(), phase.tolist()
        push, pop = heapq.heappush, heapq.heappop
        heap: list[tuple[float, int]] = []
        for seed in order.tolist():
            if not wanted[seed]:
                continue
            wanted[seed], found[seed] = False, 0.0
            push(heap, (level[seed], seed))
            while heap:
                _, at = pop(heap)
                for to, advance in (
                    (at + width, time[at]),
                    (at - width, -time[at]),
                    (at + 1, bins[at]),
                    (at - 1, -bins[at]),
                ):
                    if wanted[to]:
                        onward = time[to] if abs(to - at) == width else bins[to]
                        wanted[to] = False
                        found[to] = found[at] + advance + (onward if to > at else -onward)
                        push(heap, (level[to], to))
        phase[:] = found


REFERENCE = TorchBackend()
"""The torch backend of a CPU."""
