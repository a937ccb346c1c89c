"""Children without a pidfd: `waitpid` is asked about each of them, and no thread waits for them.

The loop polls on a SIGCHLD, and also on a timer, at first after a millisecond and then less often:
signals reach only a loop on the main thread, and only as long as the program leaves them to it.
"""

from __future__ import annotations

import contextlib
import signal

from ._signals import _do_nothing, release_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._child import Child
    from ._loop import Loop

# Seconds between two polls: the first pause after a child was added, and the longest.
_SHORTEST = 0.001
_LONGEST = 0.1


class PolledChildren:
    """Calls `ended(child)` in the loop when a child that was added has been reaped."""

    def __init__(self, loop: Loop, ended: Callable[[Child], object]) -> None:
        self._loop = loop
        self._ended = ended
        self._children: set[Child] = set()
        # None as long as there are no children.
        self._timer: asyncio.TimerHandle | None = None
        self._delay = _SHORTEST

    def add(self, child: Child) -> None:
        self._children.add(child)
        self._delay = _SHORTEST
        self._listen()
        # Not at once: the caller is not ready yet for the end of the child.
        self._set_timer()

    def close(self) -> None:
        self._children.clear()
        self._stop()

    def _listen(self) -> None:
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL:
            # RuntimeError: not on the main thread.
            with contextlib.suppress(RuntimeError):
                self._loop.add_signal_handler(signal.SIGCHLD, self._poll)

    def _poll(self) -> None:
        for child in list(self._children):
            if child.reap(has_ended=False) is not None:
                self._children.discard(child)
                self._ended(child)
        if not self._children:
            self._stop()

    def _poll_by_timer(self) -> None:
        self._delay = min(self._delay * 2, _LONGEST)
        self._set_timer()
        self._poll()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._delay, self._poll_by_timer)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_signal_back()

    def _give_signal_back(self) -> None:
        loop = self._loop
        handler = loop._signal_handlers.get(signal.SIGCHLD)
        if handler is None or handler[0] != self._poll:
            return  # the program has replaced it by a handler of its own
        if signal.getsignal(signal.SIGCHLD) is _do_nothing:
            # ValueError: this is not the main thread any more.
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(signal.SIGCHLD)
        else:
            # The program has called signal.signal() since, and that stays.
            del loop._signal_handlers[signal.SIGCHLD]
            release_signals(loop)
