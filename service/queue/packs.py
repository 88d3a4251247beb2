"""A pack through the engine, and the recovery of its items when the engine fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from unmel.models.errors import NonFiniteOutput, OutOfMemory, UnmelError
from unmel.service.queue.tickets import Ticket

if TYPE_CHECKING:  # both load torch
    from unmel.models.engine import Result, Work
    from unmel.models.mel import MelConfig

logger = logging.getLogger("unmel.packs")


class PackEngine(Protocol):
    """The part of an engine that lanes use."""

    def preparation(self, config: MelConfig) -> float:
        """Seconds of preparation before the first pack of a config; 0 when it is ready."""

    def run(self, items: Sequence[Work]) -> list[Result]:
        """Compute items, one result for each."""

    def free_memory(self) -> None:
        """Return cached device memory."""


@dataclass(frozen=True, eq=False)
class PackResults:
    """Results of one call of the engine, and its times."""

    results: Sequence[Result]
    began: float
    ended: float
    warm: bool
    """Whether no preparation was needed, so that the time is a measurement of the speed."""


RunPack = Callable[[Sequence[Ticket]], PackResults]
"""Computes the tickets' items as one pack: a result for each, or an exception for all."""

Deliver = Callable[[Sequence[Ticket], PackResults], None]


def compute(
    pack: Sequence[Ticket], run: RunPack, deliver: Deliver, free_memory: Callable[[], None]
) -> bool:
    """Settle every ticket of a pack, so that a faulty item fails alone.

    A pack that fails is run again item by item. A pack that runs out of memory is run again in
    halves, after memory is returned, down to single items. Tickets without a waiting client are
    skipped.

    Parameters
    ----------
    pack
        Tickets whose items are computed together.
    run
        Computes one pack.
    deliver
        Settles tickets with their results.
    free_memory
        Returns cached device memory.

    Returns
    -------
    Whether the engine itself is in doubt: it raised an exception that no item should cause.

    """
    in_doubt = False
    todo = [list(pack)]
    while todo:
        tickets = [ticket for ticket in todo.pop() if not ticket.done]
        if not tickets:
            continue
        try:
            results = run(tickets)
        except Exception as error:  # any exception is an answer and must not end the lane
            failure = error
        else:
            _settle(tickets, results, deliver)
            continue
        out_of_memory = isinstance(failure, OutOfMemory)
        if out_of_memory:
            _free(free_memory)
        if len(tickets) == 1:
            in_doubt |= not isinstance(failure, UnmelError)
            tickets[0].settle(failure)
            continue
        logger.warning("a pack of %d failed and is split: %r", len(tickets), failure)
        size = -(-len(tickets) // 2) if out_of_memory else 1
        parts = [tickets[i : i + size] for i in range(0, len(tickets), size)]
        todo.extend(reversed(parts))
    return in_doubt


def _free(free_memory: Callable[[], None]) -> None:
    try:
        free_memory()
    except Exception:  # the pack is split all the same
        logger.warning("the device's memory was not returned", exc_info=True)


def _settle(tickets: Sequence[Ticket], computed: PackResults, deliver: Deliver) -> None:
    """Deliver the results; one that is not finite fails its own item only."""
    good = []
    for ticket, result in zip(tickets, computed.results, strict=True):
        if is_finite(result):
            good.append((ticket, result))
        else:
            ticket.settle(NonFiniteOutput("the result is not finite"))
    if good:
        deliver([t for t, _ in good], replace(computed, results=[r for _, r in good]))


def is_finite(result: Result) -> bool:
    """Whether all values of a result are finite; no other result reaches a client."""
    return bool(np.isfinite(result.values).all())
