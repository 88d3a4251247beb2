"""Phases that grow over islands of loud bins, the loudest first."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from unmel.models.backends.base import Doubles, Places
from unmel.models.backends.cpu.loop import loop


@loop("void(i8[::1], f8[::1], f8[::1], f8[::1], b1[::1], f8[::1], i8)")
def grow(
    order: Places,
    loud: Doubles,
    along: Doubles,
    across: Doubles,
    todo: NDArray[np.bool_],
    phase: Doubles,
    width: int,
) -> None:
    """`Backend.grow_islands` on Python's own heap, which numba compiles.

    Written out for each neighbour: a loop over them costs a tenth more.
    """
    heap = [(loud[seed], seed) for seed in order[:0]]  # of none, for its type
    for seed in order:
        if not todo[seed]:
            continue
        todo[seed], phase[seed] = False, 0.0
        heappush(heap, (loud[seed], seed))
        while heap:
            _, at = heappop(heap)
            here = phase[at]
            if todo[at + width]:
                todo[at + width] = False
                phase[at + width] = here + along[at] + along[at + width]
                heappush(heap, (loud[at + width], at + width))
            if todo[at - width]:
                todo[at - width] = False
                phase[at - width] = here - along[at] - along[at - width]
                heappush(heap, (loud[at - width], at - width))
            if todo[at + 1]:
                todo[at + 1] = False
                phase[at + 1] = here + across[at] + across[at + 1]
                heappush(heap, (loud[at + 1], at + 1))
            if todo[at - 1]:
                todo[at - 1] = False
                phase[at - 1] = here - across[at] - across[at - 1]
                heappush(heap, (loud[at - 1], at - 1))
