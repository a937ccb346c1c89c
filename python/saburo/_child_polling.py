"""Children without a pidfd: `waitpid` is asked about each of them, and no thread waits for them.

The loop polls on a SIGCHLD, and also on a timer, at first after a millisecond and then less often:
signals reach only a loop on the main thread, and only as long as the program leaves them to it.
"""

from __future__ import annotations

import contextlib
import signal

from ._signals import _noticed, release_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._child import Child
    from ._loop import Loop

# Seconds from one look to the next: after a start, and at most.
_FIRST = 0.001
_LAST = 0.1


class PolledChildren:
    """Calls `ended(child)` in the loop when a child that was added has been reaped."""

    def __init__(self, loop: Loop, ended: Callable[[Child], object]) -> None:
        self._loop = loop
        self._ended = ended
        self._children: set[Child] = set()
        # Set as long as there are children.
        self._timer: asyncio.TimerHandle | None = None
        self._delay = _FIRST

    def add(self, child: Child) -> None:
        self._children.add(child)
        self._delay = _FIRST
        self._listen()
        # Not at once: whoever adds the child is not ready to hear of its end.
        self._set_timer()

    def close(self) -> None:
        self._children.clear()
        self._stop()

    def _listen(self) -> None:
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL:
            # RuntimeError: not on the main thread.
            with contextlib.suppress(RuntimeError):
                self._loop.add_signal_handler(signal.SIGCHLD, self._look)

    def _look(self) -> None:
        for child in list(self._children):
            if child.reap(has_ended=False) is not None:
                self._children.discard(child)
                self._ended(child)
        if not self._children:
            self._stop()

    def _look_and_go_on(self) -> None:
        self._delay = min(self._delay * 2, _LAST)
        self._set_timer()
        self._look()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._delay, self._look_and_go_on)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_signal_back()

    def _give_signal_back(self) -> None:
        loop = self._loop
        handler = loop._signal_handlers.get(signal.SIGCHLD)
        if handler is None or handler[0] != self._look:
            return  # the program has one of its own in the loop
        if signal.getsignal(signal.SIGCHLD) is _noticed:
            # ValueError: the loop has moved off the main thread.
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(signal.SIGCHLD)
        else:
            # The program has put one of its own in the place of the loop's.
            del loop._signal_handlers[signal.SIGCHLD]
            release_signals(loop)
