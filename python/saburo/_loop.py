"""Loop: asyncio's event loop, put together.

The engine below (`_saburo.Loop`) queues, waits and calls; the bases beside it, one file each, hold
what is called seldom and argues at length. This file is the life of a loop: made, run, closed. The
rule: Python never stands between the engine and a callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import warnings
import weakref

from . import _saburo
from ._all_tasks import leave_tasks_to_parent, remember
from ._async_generators import AsyncGenerators
from ._asyncio_names import take_names
from ._compat import debug_by_default
from ._connect import Connecting
from ._datagram import Datagrams
from ._pipes import Pipes
from ._report import logger
from ._sendfile import SendingThroughTransports
from ._serve import Serving
from ._start_tls import StartingTls
from ._subprocess import Subprocesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from typing import Any, Literal, TypeVar

    _T = TypeVar("_T")

# Frames kept of where a coroutine was made, in debug mode; asyncio's number.
_ORIGIN_DEPTH = 10


class Loop(
    AsyncGenerators,
    Connecting,
    Serving,
    Datagrams,
    Pipes,
    StartingTls,
    SendingThroughTransports,
    Subprocesses,
    _saburo.Loop,
    asyncio.AbstractEventLoop,
):
    """An asyncio event loop.

    Semantics: `asyncio.AbstractEventLoop`, with the errors and messages of CPython's loop.

    `tasks="stdlib"` makes `create_task` and `create_future` return asyncio's own classes, for tools
    that look inside of them, such as `python -m asyncio ps`.

    All methods are for the loop's own thread, except `call_soon_threadsafe`. A loop that is closed
    raises RuntimeError('Event loop is closed'). Making one raises OSError if the process is out of
    descriptors.

    >>> import saburo
    >>> loop = saburo.Loop()
    >>> loop
    <Loop running=False closed=False debug=False>
    >>> handle = loop.call_later(0.01, loop.stop)
    >>> loop.run_forever()
    >>> loop.close()
    """

    __module__ = "saburo"

    # sys's coroutine origin depth before this run raised it; None while it is not raised.
    _origin_depth_before: int | None = None

    def __init__(self, *, tasks: Literal["native", "stdlib"] = "native") -> None:
        self._asyncgens = weakref.WeakSet()
        self._signal_handlers = {}
        self._children = set()
        if tasks not in ("native", "stdlib"):
            # Closed, so that the half-made loop does not complain of not having been.
            self._close()
            raise ValueError(f"tasks must be 'native' or 'stdlib', not {tasks!r}")
        super().__init__()
        remember(self)
        self._native_tasks = tasks == "native"
        self.set_debug(debug_by_default())

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} running={self.is_running()} "
            f"closed={self.is_closed()} debug={self.get_debug()}>"
        )

    def run_forever(self) -> None:
        """Runs until `stop()` is called; may be called again afterwards.

        Raises RuntimeError if the loop is closed, is running, or another loop runs on this thread;
        KeyboardInterrupt and SystemExit if a callback or a task raises them or Ctrl-C is pressed.
        What was queued then stays for the next run.

        >>> import saburo
        >>> loop = saburo.new_event_loop()
        >>> handle = loop.call_soon(loop.stop)
        >>> loop.run_forever()
        >>> loop.close()
        """
        self._check_closed()
        self._check_running()
        self._track_origins(self.get_debug())
        generator_hooks = self._adopt_asyncgens()
        self._claim_signals_if_possible()
        forks = self._forks
        try:
            asyncio._set_running_loop(self)
            self._run()
        finally:
            asyncio._set_running_loop(None)
            if self._forks != forks:
                leave_tasks_to_parent(self)
            self._release_signals()
            sys.set_asyncgen_hooks(*generator_hooks)
            self._track_origins(False)

    def run_until_complete(self, future: Awaitable[_T] | Generator[Any, None, _T]) -> _T:
        """Runs until `future` is done; returns its result or raises its exception.

        A coroutine, or another awaitable, is made a task. Raises TypeError for anything else,
        ValueError for a future of another loop, and RuntimeError if the loop is stopped first, is
        closed or running, or another loop runs on this thread.

        >>> import asyncio, saburo
        >>> loop = saburo.new_event_loop()
        >>> loop.run_until_complete(asyncio.sleep(0.01, "done"))
        'done'
        >>> loop.close()
        """
        self._check_closed()
        self._check_running()
        is_ours = not asyncio.isfuture(future)
        awaited: Any = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]
        if is_ours:
            # If it does not end, the RuntimeError below says so.
            awaited._log_destroy_pending = False
        awaited.add_done_callback(_run_until_complete_cb)
        forks = self._forks
        try:
            self.run_forever()
        except BaseException as error:
            if self._forks != forks and isinstance(error, RuntimeError) and awaited.done():
                # A child that was forked in this run, and has ended what it was forked in.
                return awaited.result()  # type: ignore[no-any-return]
            if is_ours and awaited.done() and not awaited.cancelled():
                # What is on its way is the task's own exception; nobody else can ask for it.
                awaited.exception()
            raise
        finally:
            awaited.remove_done_callback(_run_until_complete_cb)
        if not awaited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        result: _T = awaited.result()
        return result

    def close(self) -> None:
        """Closes the loop for good: queues, timers and descriptors; a second call does nothing.

        Signal handlers are removed. The executors are told to end but not waited for; see
        `shutdown_default_executor`. Raises RuntimeError if the loop is running.

        >>> import saburo
        >>> loop = saburo.new_event_loop()
        >>> loop.close()
        >>> loop.is_closed()
        True
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if self.get_debug():
            logger.debug("Close %r", self)
            with contextlib.suppress(ImportError):  # the interpreter ends, and modules are gone
                _read_noted_files()
        try:
            # While the waker is still there: signals go to its descriptor up to now.
            self._remove_signal_handlers()
            self._release_signals()
        finally:
            self._close()
            self._let_children_go()
            self._let_pools_go()

    def set_debug(self, enabled: bool) -> None:
        """Switches debug mode: slow callbacks logged, threads and callbacks checked, origins kept.

        May be called on any thread. On at first if PYTHONASYNCIODEBUG is set or Python runs with
        `-X dev`.

        >>> import saburo
        >>> loop = saburo.new_event_loop()
        >>> loop.set_debug(True)
        >>> loop.get_debug()
        True
        >>> loop.close()
        """
        super().set_debug(enabled)
        if self.is_running():
            # The depth belongs to the loop's thread, which this one need not be.
            self.call_soon_threadsafe(self._track_origins, enabled)

    def _track_origins(self, enabled: bool) -> None:
        """Makes "coroutine … was never awaited" say where the coroutine was made, or stops it."""
        if bool(enabled) == (self._origin_depth_before is not None):
            return
        if enabled:
            self._origin_depth_before = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(_ORIGIN_DEPTH)
        elif self._origin_depth_before is not None:
            sys.set_coroutine_origin_tracking_depth(self._origin_depth_before)
            self._origin_depth_before = None

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """For handles of asyncio's own class, made by hand; the engine's own cancel themselves."""

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self.is_closed() or "_children" not in vars(self):
            # Closed, or never begun: __init__ was refused its arguments, or not called.
            return
        _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
        if not self.is_running():
            self.close()


# The interpreter calls directly only what stands in an object's very class. For what is inherited
# it goes through all the bases each time: half of what a short call such as time() costs.
_saburo.copy_inherited_methods(Loop)
take_names(Loop, asyncio.SelectorEventLoop)


def _read_noted_files() -> None:
    """Reads the source of the stacks that debug mode has noted, as asyncio does by the way.

    A task that is reported when the interpreter ends shows them, and then it is too late to read.
    """
    import linecache

    for name, entry in list(linecache.cache.items()):
        if len(entry) == 1:
            linecache.getlines(name)


def _run_until_complete_cb(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        # These have ended the run already; a stop now would end the next one.
        return
    future.get_loop().stop()
