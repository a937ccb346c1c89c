"""Loop: asyncio's event loop, put together.

The engine (`_saburo.Loop`, in Rust) queues, waits and calls callbacks. The other methods are
functions in one file per subject, which the class lists. This file has the state of all subjects,
and the life of a loop: made, run, closed. The rule: no Python code is called between the engine and
a callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import warnings
import weakref

from . import (
    _accept,
    _async_generators,
    _child_watch,
    _connect,
    _datagram,
    _executors,
    _pipes,
    _report,
    _resolve,
    _saburo,
    _sendfile,
    _serve,
    _signals,
    _sock,
    _sock_sendfile,
    _start_tls,
    _subprocess,
    _tls,
    _transport_reports,
)
from ._all_tasks import leave_tasks_to_parent, remember
from ._asyncio_names import take_names
from ._compat import debug_by_default
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator
    from concurrent.futures import ThreadPoolExecutor
    from typing import Any, Literal, TypeVar

    from ._child import Child
    from ._child_polling import PolledChildren
    from ._pool import Pool

    _T = TypeVar("_T")

# Frames kept of where a coroutine was made, in debug mode; asyncio's number.
_ORIGIN_DEPTH = 10


class Loop(_saburo.Loop, asyncio.AbstractEventLoop):
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

    # The state of all subjects. What must be new for each loop is made in __init__.

    # Called with the loop and the context; None means default_exception_handler.
    _exception_handler: _report._Handler | None = None

    # Of each signal that has a handler here.
    _signal_handlers: dict[int, _signals._Handler]
    # The descriptor to which this loop has had the process's signals sent.
    _signals_claimed: int | None = None

    # The generators that have begun on this loop and are not finalized.
    _asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]]
    _asyncgens_shutdown_called = False

    # The loop's own threads, made for the first job; the engine gives them their jobs.
    _pool: Pool | None
    # Set by the program, in place of the loop's own threads (`_pool`).
    _default_executor: ThreadPoolExecutor | None = None
    # Made for the first job where futures are asyncio's, in place of `_pool`.
    _asyncio_pool: ThreadPoolExecutor | None = None
    # The threads of name lookups, made for the first of them.
    _resolver: Pool | None = None
    # No job is taken any more; set by shutdown_default_executor() and close().
    _executor_shutdown_called = False

    # The child processes that the loop waits for: each by its pidfd, or polled.
    _children: set[Child]
    # Made for the first child without a pidfd.
    _polled: PolledChildren | None = None

    # sys's coroutine origin depth before this run raised it; None while it is not raised.
    _origin_depth_before: int | None = None

    # Errors that no caller sees.
    set_exception_handler = _report.set_exception_handler
    get_exception_handler = _report.get_exception_handler
    default_exception_handler = _report.default_exception_handler
    call_exception_handler = _report.call_exception_handler
    _report_slow = _report.report_slow

    # Connections, servers and datagrams.
    create_connection = _connect.create_connection
    create_unix_connection = _connect.create_unix_connection
    connect_accepted_socket = _connect.connect_accepted_socket
    create_server = _serve.create_server
    create_unix_server = _serve.create_unix_server
    create_datagram_endpoint = _datagram.create_datagram_endpoint
    start_tls = _start_tls.start_tls
    sendfile = _sendfile.sendfile
    _make_ssl_transport = _tls.make_ssl_transport
    _start_serving = _accept.start_serving
    _stop_serving = _accept.stop_serving
    _report_transport = _transport_reports.report_transport
    _report_throttle = _transport_reports.report_throttle
    _log_accepted = _transport_reports.log_accepted
    _log_closed_by_peer = _transport_reports.log_closed_by_peer
    _debug_transport = _transport_reports.debug_transport

    # A program's own sockets. sock_recv, sock_recv_into and sock_sendall are methods of the engine,
    # which calls the functions named any_ for unusual arguments.
    sock_recvfrom = _sock.sock_recvfrom
    sock_recvfrom_into = _sock.sock_recvfrom_into
    sock_sendto = _sock.sock_sendto
    sock_connect = _sock.sock_connect
    sock_accept = _sock.sock_accept
    sock_sendfile = _sock_sendfile.sock_sendfile
    _any_sock_recv = _sock.any_sock_recv
    _any_sock_recv_into = _sock.any_sock_recv_into
    _any_sock_sendall = _sock.any_sock_sendall

    # Pipes and child processes.
    connect_read_pipe = _pipes.connect_read_pipe
    connect_write_pipe = _pipes.connect_write_pipe
    subprocess_exec = _subprocess.subprocess_exec
    subprocess_shell = _subprocess.subprocess_shell
    _make_subprocess_transport = _subprocess.make_subprocess_transport
    _report_read_pipe = _transport_reports.report_read_pipe

    # Threads, and names looked up in them. run_in_executor is a method of the engine, which calls
    # the function named any_ for all but jobs of the loop's own threads.
    set_default_executor = _executors.set_default_executor
    shutdown_default_executor = _executors.shutdown_default_executor
    getaddrinfo = _resolve.getaddrinfo
    getnameinfo = _resolve.getnameinfo
    _run_in_any_executor = _executors.run_in_any_executor

    # Signals.
    add_signal_handler = _signals.add_signal_handler
    remove_signal_handler = _signals.remove_signal_handler
    _handle_signals = _signals.handle_signals

    # Asynchronous generators.
    shutdown_asyncgens = _async_generators.shutdown_asyncgens
    _asyncgen_firstiter_hook = _async_generators.asyncgen_firstiter_hook
    _asyncgen_finalizer_hook = _async_generators.asyncgen_finalizer_hook

    def __init__(self, *, tasks: Literal["native", "stdlib"] = "native") -> None:
        self._asyncgens = weakref.WeakSet()
        self._signal_handlers = {}
        self._children = set()
        if tasks not in ("native", "stdlib"):
            # So that __del__ does not warn of a loop that was not closed.
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
        generator_hooks = _async_generators.set_hooks(self)
        _signals.claim_signals_if_possible(self)
        forks = self._forks
        try:
            asyncio._set_running_loop(self)
            self._run()
        finally:
            asyncio._set_running_loop(None)
            if self._forks != forks:
                leave_tasks_to_parent(self)
            _signals.release_signals(self)
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
            # If it stays pending, the RuntimeError below says so.
            awaited._log_destroy_pending = False
        awaited.add_done_callback(_run_until_complete_cb)
        forks = self._forks
        try:
            self.run_forever()
        except BaseException as error:
            if self._forks != forks and isinstance(error, RuntimeError) and awaited.done():
                # This is a child that was forked in this run, and the forking task has ended.
                return awaited.result()  # type: ignore[no-any-return]
            if is_ours and awaited.done() and not awaited.cancelled():
                # The task's exception is being raised: it must not be reported as never retrieved.
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
            with contextlib.suppress(ImportError):  # the interpreter is ending
                _cache_source_lines()
        try:
            # Before the waker is closed: signals are written into its descriptor.
            _signals.remove_signal_handlers(self)
            _signals.release_signals(self)
        finally:
            self._close()
            _child_watch.dismiss_children(self)
            _executors.dismiss_pools(self)

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
            # The depth is one of the loop's thread, and this may be another.
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

    def _after_fork(self) -> None:
        """In a forked child, which has this loop of its parent's."""
        _async_generators.after_fork(self)
        super()._after_fork()
        _child_watch.after_fork(self)
        _executors.after_fork(self)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by timer handles of asyncio's own class that a program has made."""

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self.is_closed() or "_children" not in vars(self):
            # Closed, or __init__ was not called.
            return
        _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
        if not self.is_running():
            self.close()


# The interpreter calls a native method directly only if the object's own class has it. An inherited
# one is looked up in all bases each time: half of the cost of a short call such as time().
_saburo.copy_inherited_methods(Loop)
take_names(Loop, asyncio.SelectorEventLoop)


def _cache_source_lines() -> None:
    """Reads the source files of the stacks that debug mode has recorded.

    A task may be reported with its stack when the interpreter ends; files cannot be read then.
    """
    import linecache

    for name, entry in list(linecache.cache.items()):
        if len(entry) == 1:
            linecache.getlines(name)


def _run_until_complete_cb(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        # They have ended the run already; stop() would end the next one.
        return
    future.get_loop().stop()
