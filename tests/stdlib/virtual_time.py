"""A loop whose clock the test turns: the protocol of ``test_utils.TestLoop``, on any real loop.

Most of ``test_tasks`` runs on a loop whose time stands still. After each turn the loop tells a
generator of the test the deadline of every timer set during the turn, and the generator answers
by how much to move the clock on. CPython builds that on the private parts of its own base loop;
here it is a mixin over a loop that can do one turn without blocking, so the tests run on the
ready queue, futures and tasks under test. Only the timers are the harness's.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable, Generator
from typing import Any

Plan = Generator[float, float, None]

# A deadline this close counts as reached: sums of floats such as 0.1 + 0.2 need the slack.
RESOLUTION = 1e-9


def _no_plan() -> Plan:
    yield 0


class VirtualClock:
    """Time, the timers set against it, and the test's generator that moves it."""

    def __init__(self, make_plan: Callable[[], Plan] | None) -> None:
        self.now: float = 0
        self._must_finish = make_plan is not None
        self._plan = (make_plan or _no_plan)()
        next(self._plan)
        self._announcements: list[float] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._sequence = itertools.count()

    def add(self, timer: asyncio.TimerHandle) -> None:
        self._announcements.append(timer.when())
        heapq.heappush(self._timers, (timer.when(), next(self._sequence), timer))

    def due(self) -> list[asyncio.TimerHandle]:
        """Take out the timers whose time has come, earliest first."""
        due = []
        while self._timers and self._timers[0][0] < self.now + RESOLUTION:
            due.append(heapq.heappop(self._timers)[2])
        return due

    def consult_plan(self) -> None:
        """Announce the timers set since the last time, and move the clock as the plan says."""
        for when in self._announcements:
            self.now += self._plan.send(when) or 0
        self._announcements.clear()

    def finish(self) -> None:
        """Raise AssertionError if the test's generator expected timers that never came."""
        if not self._must_finish:
            return
        try:
            self._plan.send(0)
        except StopIteration:
            pass
        else:
            raise AssertionError("the test's time generator expected more timers")


class VirtualTimeLoop:
    """Mixin of a loop; the class it is mixed into supplies `_nonblocking_turn`.

    Its timers are asyncio's own handles on any loop, also where the loop has a class of its own.
    """

    _nonblocking_turn: Callable[[], None]
    _check_closed: Callable[[], None]

    def __init__(self, gen: Callable[[], Plan] | None = None) -> None:
        super().__init__()
        self._virtual_clock = VirtualClock(gen)
        # `stop` only asks: the turns below are single runs of the real loop, each with its own
        # stop, and the request must outlive them.
        self._stop_wanted = False

    def time(self) -> float:
        return self._virtual_clock.now

    def advance_time(self, advance: float) -> None:
        """Move the clock on, without consulting the test's generator."""
        self._virtual_clock.now += advance or 0

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if delay is None:
            raise TypeError("delay must not be None")
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_closed()
        timer = asyncio.events.TimerHandle(when, callback, args, self, context)  # type: ignore[arg-type]
        self._virtual_clock.add(timer)
        return timer

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """Cancelled timers stay in the clock's heap and are dropped when due."""

    def stop(self) -> None:
        self._stop_wanted = True

    def run_forever(self) -> None:
        try:
            super().run_forever()  # type: ignore[misc]
        finally:
            self._stop_wanted = False

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        self._virtual_clock.finish()

    def _turn(self) -> None:
        for timer in self._virtual_clock.due():
            # A handle enters its own context when it runs, which its caller must not be in.
            super().call_soon(_run_timer, timer, context=contextvars.Context())  # type: ignore[misc]
        self._nonblocking_turn()
        self._virtual_clock.consult_plan()


def _run_timer(timer: asyncio.TimerHandle) -> None:
    if not timer.cancelled():
        timer._run()
