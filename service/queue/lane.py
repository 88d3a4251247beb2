"""One lane: a thread that takes packs, computes them, and shows its state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from unmel.models.errors import NonFiniteOutput
from unmel.service.queue.packs import PackEngine, PackResults, compute, is_finite
from unmel.service.queue.tickets import Ticket

if TYPE_CHECKING:  # the engine loads torch
    from unmel.models.engine import Work

logger = logging.getLogger("unmel.lane")

LANE_NAME = "lane-"
"""Prefix of the threads' names."""

# Seconds between attempts of a lane that fails its probe, doubled each time up to the longest.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0

State = Literal["starting", "idle", "busy"]


class Dispatcher(Protocol):
    """Source of a lane's packs, and receiver of its results."""

    def take(self, lane: Lane) -> Sequence[Ticket] | None:
        """Wait for a pack and assign it to the lane; None when there will be no more."""

    def pause(self, lane: Lane, seconds: float) -> bool:
        """Wait; False if the lane is no longer needed."""

    def time_limits(self, tickets: Sequence[Ticket]) -> tuple[float, float]:
        """Expected seconds of a call, and seconds after which it counts as hung."""

    def deliver(self, tickets: Sequence[Ticket], computed: PackResults) -> None:
        """Settle tickets with the results of a call."""

    def lost(self, lane: Lane, error: BaseException) -> None:
        """Replace a lane whose thread ends by an exception."""


@dataclass(frozen=True)
class Running:
    """A call of the engine in progress."""

    began: float
    expected: float
    limit: float


class Lane:
    """A thread and its state. Each attribute is written by one thread and read by any.

    A lane that replaces a lost one computes a probe before it counts as ready. Any lane computes
    one after the engine raised an exception that no item should cause, and counts as ready until
    that fails.

    Parameters
    ----------
    name
        Suffix of the thread's name.
    engine
        Computes packs.
    dispatcher
        Gives packs and takes results.
    clock
        Current time, seconds.
    probe
        Small item that shows whether the engine works; None for no such check.
    proven
        Whether the lane counts as ready without a probe.

    """

    def __init__(
        self,
        name: str,
        engine: PackEngine,
        dispatcher: Dispatcher,
        clock: Callable[[], float],
        probe: Work | None,
        *,
        proven: bool,
    ) -> None:
        self._engine, self._dispatcher = engine, dispatcher
        self._clock, self._probe = clock, probe
        self._proven = proven or probe is None
        self._running: Running | None = None
        self.pack: Sequence[Ticket] = ()
        self.failed_probes = 0
        self.abandoned = False
        """Set from outside when a call hangs: its outcome is ignored."""
        self._thread = threading.Thread(target=self._run, name=f"{LANE_NAME}{name}", daemon=True)

    @property
    def name(self) -> str:
        return self._thread.name

    @property
    def state(self) -> State:
        if not self._proven:
            return "starting"
        return "busy" if self.pack else "idle"

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def working(self) -> bool:
        """Whether it is alive and proven."""
        return self._proven and self.alive

    def assign(self, pack: Sequence[Ticket]) -> None:
        """Show a pack as this lane's."""
        self.pack = pack

    @property
    def running(self) -> bool:
        """Whether a call of the engine is in progress."""
        return self._running is not None

    def remaining(self, now: float) -> float:
        """Estimated seconds until the lane is free; `now` is a time of the clock."""
        running = self._running
        return 0.0 if running is None else max(0.0, running.began + running.expected - now)

    def hangs(self, now: float) -> bool:
        """Whether the call in progress has exceeded its limit."""
        running = self._running
        return running is not None and now > running.began + running.limit

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end, at most `timeout` seconds."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    # --- the lane's own thread ----------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._compute_packs()
        except _Abandoned:
            logger.warning("%s returned after it was abandoned; its thread ends", self.name)
        except BaseException as error:
            self._dispatcher.lost(self, error)

    def _compute_packs(self) -> None:
        if not self._proven and not self._pass_probe():
            return
        while (pack := self._dispatcher.take(self)) is not None:
            in_doubt = compute(
                pack, self._compute_pack, self._dispatcher.deliver, self._engine.free_memory
            )
            self.pack = ()
            if in_doubt and not self._pass_probe():
                return

    def _pass_probe(self) -> bool:
        """Compute the probe until it succeeds; False if the lane is no longer needed."""
        pause = _FIRST_PAUSE
        while self._probe is not None:
            try:
                [result] = self._call((), [self._probe]).results
                if not is_finite(result):
                    raise NonFiniteOutput("the probe is not finite")
            except Exception:
                self._proven = False
                self.failed_probes += 1
                logger.exception("%s failed its probe", self.name)
                if not self._dispatcher.pause(self, pause):
                    return False
                pause = min(2.0 * pause, _LONGEST_PAUSE)
            else:
                break
        self._proven, self.failed_probes = True, 0
        return True

    def _compute_pack(self, tickets: Sequence[Ticket]) -> PackResults:
        return self._call(tickets, [ticket.item for ticket in tickets])

    def _call(self, tickets: Sequence[Ticket], items: Sequence[Work]) -> PackResults:
        """Run the engine; the call and its limits are visible from outside meanwhile."""
        warm = not any(self._engine.preparation(item.config) for item in items)
        limits = self._dispatcher.time_limits(tickets)
        began = self._clock()
        self._running = Running(began, *limits)
        try:
            results = self._engine.run(items)
        finally:
            self._running = None
            if self.abandoned:
                raise _Abandoned
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for {len(items)} items")
        return PackResults(results, began, self._clock(), warm)


class _Abandoned(BaseException):
    """Ends the thread of an abandoned lane; no handler of errors may catch it."""
