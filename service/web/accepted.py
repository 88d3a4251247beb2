"""A whole request that was let in, whatever protocol it came by: its items through the lanes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from unmel.service.ops.limits import Reservation
from unmel.service.queue.progress import TrackedRequest
from unmel.service.queue.tickets import Served
from unmel.service.web.components import Components
from unmel.service.web.timings import record_stages
from unmel.service.wire.problems import status_of

if TYPE_CHECKING:
    from unmel.models.engine import Result, Work

Outcome = Served | Exception
"""A result, or what was wrong with one item of a batch."""


def results_of(outcomes: Sequence[Outcome]) -> list[Result | Exception]:
    """The results alone, without the times."""
    return [one.result if isinstance(one, Served) else one for one in outcomes]


class WorkRequest(Protocol):
    """A checked request for work."""

    @property
    def items(self) -> Sequence[Work]:
        """Work for the lanes, at least one item."""

    @property
    def nbytes(self) -> int:
        """Upper bound of the bytes of input and result."""

    @property
    def timeout(self) -> float | None:
        """Deadline that the body states, seconds after the request's head."""

    @property
    def partial(self) -> bool:
        """Whether an item that is at fault itself leaves the others be."""


R = TypeVar("R", bound=WorkRequest)
A = TypeVar("A")
Watch = Callable[[Coroutine[Any, Any, list[Outcome]]], Awaitable[list[Outcome]]]


async def _awaited(work: Coroutine[Any, Any, list[Outcome]]) -> list[Outcome]:
    return await work


@dataclass(frozen=True, eq=False)
class Accepted:
    """A request that may be answered in time.

    Parameters
    ----------
    components
        Components of the service.
    reservation
        Its memory.
    tracked
        Its progress.
    began
        When its head had come (time.monotonic).
    answer_by
        Deadline that its head states, a time of the same clock; None for the default one.
    kept
        Bytes of the request itself that stay in memory until the answer.

    """

    components: Components
    reservation: Reservation
    tracked: TrackedRequest
    began: float
    answer_by: float | None
    kept: int = 0

    async def serve(
        self,
        wanted: R,
        encode: Callable[[R, Sequence[Outcome]], A],
        watch: Watch = _awaited,
    ) -> tuple[A, dict[str, float]]:
        """Compute a checked request and encode its answer.

        Parameters
        ----------
        wanted
            The request.
        encode
            Makes the answer, on a thread; an item's own fault stands in the place of its result
            where the request is partial.
        watch
            Awaits the computation, as long as there is a client.

        Returns
        -------
        The answer, and the seconds of each stage.

        Raises
        ------
        Overloaded, DeadlineMissed, LaneLost
            As `Lanes.submit`; the first failure of several items counts.

        """
        self.reservation.resize(wanted.nbytes + self.kept)
        answer_by = self.answer_by
        if wanted.timeout is not None:
            latest = self.began + wanted.timeout
            answer_by = latest if answer_by is None else min(answer_by, latest)
        decoded = time.monotonic()
        outcomes = await watch(self._compute(wanted, answer_by))
        computed = time.monotonic()
        answer = await asyncio.to_thread(encode, wanted, outcomes)
        seconds = record_stages(
            self.components.metrics,
            [one for one in outcomes if isinstance(one, Served)],
            began=self.began,
            decoded=decoded,
            computed=computed,
            frames=sum(item.frames for item in wanted.items),
        )
        return answer, seconds

    async def _compute(self, wanted: WorkRequest, answer_by: float | None) -> list[Outcome]:
        """Outcomes of all items; a failure cancels the others unless it is the item's own."""

        async def outcome(item: Work) -> Outcome:
            try:
                return await self.components.lanes.submit(item, answer_by, self.tracked.queued)
            except Exception as error:
                # A fault of the service, or no time: the whole request may be sent again.
                if not wanted.partial or status_of(error) >= 500:
                    raise
                return error

        items = wanted.items
        if len(items) == 1:
            return [await outcome(items[0])]
        tasks = [asyncio.ensure_future(outcome(item)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
