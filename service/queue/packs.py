"""A pack through the engine, and what becomes of its items when the engine fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from unmel.models.engine.work import Result, Work
from unmel.models.errors import NonFiniteOutput, OutOfMemory, UnmelError
from unmel.models.mel.config import MelConfig
from unmel.service.queue.tickets import Ticket

logger = logging.getLogger("unmel.packs")


class Runs(Protocol):
    """What lanes need of an engine."""

    def preparation(self, config: MelConfig) -> float: ...

    def run(self, items: Sequence[Work]) -> list[Result]: ...

    def free_memory(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Computed:
    """What came of one call of the engine, and when."""

    results: Sequence[Result]
    began: float
    ended: float
    warm: bool
    """Whether the plans were there, so that the time shows how fast the lane is."""


Call = Callable[[Sequence[Ticket]], Computed]
"""Runs tickets' items as one pack: a result for each, or an exception for all."""

Deliver = Callable[[Sequence[Ticket], Computed], None]


def compute(
    pack: Sequence[Ticket], call: Call, deliver: Deliver, free_memory: Callable[[], None]
) -> bool:
    """Settle every ticket of a pack, the guilty one alone with its error.

    A pack that fails is run again item by item. One for which the device has no memory is run
    again in halves, memory given back first, down to single items. Those whose clients have
    gone are left out. Returns whether the engine itself is in doubt: it failed for an item in
    a way that no item should make it fail.
    """
    in_doubt = False
    todo = [list(pack)]
    while todo:
        tickets = [ticket for ticket in todo.pop() if not ticket.gone]
        if not tickets:
            continue
        try:
            computed = call(tickets)
        except Exception as error:  # whatever it is, it is an answer, not the lane's end
            failure = error
        else:
            _settle(tickets, computed, deliver)
            continue
        short = isinstance(failure, OutOfMemory)
        if short:
            free_memory()
        if len(tickets) == 1:
            in_doubt |= not isinstance(failure, UnmelError)
            tickets[0].settle(failure)
            continue
        logger.warning("a pack of %d failed and is split: %r", len(tickets), failure)
        size = -(-len(tickets) // 2) if short else 1
        parts = [tickets[i : i + size] for i in range(0, len(tickets), size)]
        todo.extend(reversed(parts))
    return in_doubt


def _settle(tickets: Sequence[Ticket], computed: Computed, deliver: Deliver) -> None:
    """Hand out the results; one that is not finite is its own item's failure."""
    good = []
    for ticket, result in zip(tickets, computed.results, strict=True):
        if is_finite(result):
            good.append((ticket, result))
        else:
            ticket.settle(NonFiniteOutput("the result is not finite"))
    if good:
        deliver([t for t, _ in good], replace(computed, results=[r for _, r in good]))


def is_finite(result: Result) -> bool:
    """Whether a result can be handed on: what is not finite is never passed off as a result."""
    return bool(np.isfinite(result.values).all())
