"""Phases that grow over islands of loud bins, the loudest first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernels.loop import Doubles, Places, loop


@loop()
def _before(a: int, b: int, loud: Doubles) -> bool:
    """Whether `a` leaves the heap before `b`."""
    return bool(loud[a] < loud[b] or (loud[a] == loud[b] and a < b))


@loop()
def _rise(heap: Places, size: int, what: int, loud: Doubles, todo: NDArray[np.bool_]) -> int:
    """Put `what`, which is done now, into a heap of `size`; gives the new size."""
    todo[what] = False
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(what, heap[parent], loud):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = what
    return size + 1


@loop()
def _sink(heap: Places, size: int, what: int, loud: Doubles) -> None:
    """Put `what` in place of the first of a heap of `size`."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap[child + 1], heap[child], loud):
            child += 1
        if not _before(heap[child], what, loud):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = what


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
    """`pghi.grow_islands`: a binary heap by loudness, then by place."""
    heap = np.empty(order.shape[0] + 1, np.int64)
    for seed in order:
        if not todo[seed]:
            continue
        todo[seed], phase[seed] = False, 0.0
        heap[0] = seed
        size = 1
        while size:
            at = heap[0]
            size -= 1
            if size:
                _sink(heap, size, heap[size], loud)
            here = phase[at]
            if todo[at + width]:
                phase[at + width] = here + along[at] + along[at + width]
                size = _rise(heap, size, at + width, loud, todo)
            if todo[at - width]:
                phase[at - width] = here - along[at] - along[at - width]
                size = _rise(heap, size, at - width, loud, todo)
            if todo[at + 1]:
                phase[at + 1] = here + across[at] + across[at + 1]
                size = _rise(heap, size, at + 1, loud, todo)
            if todo[at - 1]:
                phase[at - 1] = here - across[at] - across[at - 1]
                size = _rise(heap, size, at - 1, loud, todo)
