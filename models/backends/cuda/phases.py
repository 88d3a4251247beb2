"""Random phases on a GPU: made where they are needed, in one pass."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from unmel.models.backends import base
from unmel.models.backends.cuda.launch import on

_BIN_STEP, _FIRST, _SECOND = map(
    tl.constexpr, (base.BIN_STEP, base.FIRST_FACTOR, base.SECOND_FACTOR)
)
_MOST = 1024  # bins that a program draws


@triton.jit(do_not_specialize=["width"])
def _draw(keys, out, step, width, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    a = tl.load(keys + 2 * row).to(tl.uint32, bitcast=True)
    b = tl.load(keys + 2 * row + 1).to(tl.uint32, bitcast=True)
    x = a + n.to(tl.uint32) * _BIN_STEP
    x = (x ^ (x >> 16)) * _FIRST + b
    x = (x ^ (x >> 15)) * _SECOND
    scale = tl.where((a | b) != 0, step, 0.0)
    tl.store(out + row * width + n, (x >> 16).to(tl.float32) * scale, mask=n < width)


def draw(keys: Tensor, step: float, out: Tensor) -> None:
    """See `Backend.draw`."""
    rows, width = out.shape
    block = min(int(triton.next_power_of_2(width)), _MOST)
    if rows:
        with on(out):
            _draw[rows, triton.cdiv(width, block)](keys, out, step, width, block=block)
