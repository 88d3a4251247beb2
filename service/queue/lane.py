"""One lane: a thread that takes packs and computes them, and shows what it is at."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from unmel.models.engine.work import Work
from unmel.models.errors import NonFiniteOutput
from unmel.service.queue.packs import Computed, Runs, compute, is_finite
from unmel.service.queue.tickets import Ticket

logger = logging.getLogger("unmel.lane")

LANE_NAME = "lane-"

# Seconds between attempts of a lane that fails its probe, doubled each time up to the longest.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0

State = Literal["starting", "idle", "busy"]


class Hub(Protocol):
    """Where lanes get their work from, and whom they tell."""

    def take(self, lane: Lane) -> Sequence[Ticket] | None:
        """Wait for a pack and seat it in the lane; None when none will come any more."""

    def pause(self, lane: Lane, seconds: float) -> bool:
        """Wait; False if the lane is not needed any more."""

    def expect(self, tickets: Sequence[Ticket]) -> tuple[float, float]:
        """Seconds that a call should take, and after which it counts as hung."""

    def deliver(self, tickets: Sequence[Ticket], computed: Computed) -> None:
        """Hand out what a call gave."""

    def lost(self, lane: Lane, error: BaseException) -> None:
        """A lane's thread ends by an exception."""


@dataclass(frozen=True)
class Running:
    """A call of the engine that has not come back."""

    began: float
    expected: float
    limit: float


class Lane:
    """A thread and its state. Each attribute is written by one thread and read by any.

    A new lane in the place of a lost one computes a `probe` before it counts as ready, and any
    lane does so when the engine failed for an item in a way that no item should cause.
    """

    def __init__(
        self,
        name: str,
        engine: Runs,
        hub: Hub,
        clock: Callable[[], float],
        probe: Work | None,
        *,
        proven: bool,
    ) -> None:
        self._engine, self._hub, self._clock, self._probe = engine, hub, clock, probe
        self._proven = proven or probe is None
        self._running: Running | None = None
        self.pack: Sequence[Ticket] = ()
        self.failed_probes = 0
        self.given_up = False
        """Set from outside when a call hangs: its outcome is wanted no more."""
        self._thread = threading.Thread(target=self._live, name=f"{LANE_NAME}{name}", daemon=True)

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
    def at_work(self) -> bool:
        """Whether it computes what it is given."""
        return self._proven and self.alive

    def seat(self, pack: Sequence[Ticket]) -> None:
        self.pack = pack

    @property
    def running(self) -> bool:
        """Whether the engine is at its pack now: not just before, nor just after."""
        return self._running is not None

    def remaining(self, now: float) -> float:
        """Seconds until the lane is free, as far as is known."""
        running = self._running
        return 0.0 if running is None else max(0.0, running.began + running.expected - now)

    def hangs(self, now: float) -> bool:
        """Whether a call has taken longer than it may."""
        running = self._running
        return running is not None and now > running.began + running.limit

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout)

    # --- the lane's own thread ----------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._work()
        except _GivenUp:
            logger.warning("%s came back after it was given up; it ends", self.name)
        except BaseException as error:
            self._hub.lost(self, error)

    def _work(self) -> None:
        if not self._proven and not self._prove():
            return
        while (pack := self._hub.take(self)) is not None:
            in_doubt = compute(pack, self._call, self._hub.deliver, self._engine.free_memory)
            self.pack = ()
            if in_doubt and not self._prove():
                return

    def _prove(self) -> bool:
        """Compute the probe until it comes out; False if the lane is not needed any more."""
        while self._probe is not None:
            try:
                [result] = self._timed((), [self._probe]).results
                if not is_finite(result):
                    raise NonFiniteOutput("the probe is not finite")
            except Exception:
                self._proven = False
                self.failed_probes += 1
                logger.exception("%s failed its probe", self.name)
                pause = min(_FIRST_PAUSE * 2.0**self.failed_probes, _LONGEST_PAUSE)
                if not self._hub.pause(self, pause):
                    return False
            else:
                break
        self._proven, self.failed_probes = True, 0
        return True

    def _call(self, tickets: Sequence[Ticket]) -> Computed:
        return self._timed(tickets, [ticket.item for ticket in tickets])

    def _timed(self, tickets: Sequence[Ticket], items: Sequence[Work]) -> Computed:
        """Run the engine with the time of the call to be seen from outside."""
        began = self._clock()
        self._running = Running(began, *self._hub.expect(tickets))
        warm = not any(self._engine.preparation(item.config) for item in items)
        try:
            results = self._engine.run(items)
        finally:
            self._running = None
            if self.given_up:
                raise _GivenUp
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for {len(items)} items")
        return Computed(results, began, self._clock(), warm)


class _GivenUp(BaseException):
    """Ends the thread of a lane that was given up; no handler of errors may take it for one."""
