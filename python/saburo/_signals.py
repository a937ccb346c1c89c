"""Unix signals, delivered as callbacks of the loop.

CPython writes the number of each signal into one descriptor of the process, the wakeup fd. A loop
sets it to its own waker while it runs on the main thread, and as long as it has handlers: signals
that arrive between two runs stay in the waker and are delivered by the next run. Where the wakeup
fd is in use, as by Twisted's reactor for its children, a loop without handlers leaves it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import os
import signal
import sys
import warnings
from asyncio.format_helpers import extract_stack

from . import _saburo
from ._compat import is_coroutine_function, reset_after_fork
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import traceback
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVarTuple

    from ._loop import Loop

    _Ts = TypeVarTuple("_Ts")
    # A callback, its arguments and the context it runs in; in debug mode, where it was added.
    _Handler: TypeAlias = tuple[
        Callable[..., object], tuple[Any, ...], contextvars.Context, traceback.StackSummary | None
    ]


def add_signal_handler(
    self: Loop, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts
) -> None:
    """Calls `callback(*args)` in the loop whenever signal `sig` arrives.

    Unlike a handler of the module `signal`, the callback may use the loop. It replaces the
    handler there was for `sig`. Signals that arrive while the loop is not running are delivered
    by its next run.

    Raises TypeError if `sig` is no int or `callback` a coroutine function, ValueError if there
    is no such signal, RuntimeError if it cannot be caught (SIGKILL), if the loop is closed, or
    on any thread but the main one.

    >>> import asyncio, os, saburo, signal
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     told = asyncio.Event()
    ...     loop.add_signal_handler(signal.SIGUSR1, told.set)
    ...     os.kill(os.getpid(), signal.SIGUSR1)
    ...     return await told.wait()
    >>> saburo.run(main())
    True
    """
    if asyncio.iscoroutine(callback) or is_coroutine_function(callback):
        raise TypeError("coroutines cannot be used with add_signal_handler()")
    _saburo.check_callable("add_signal_handler", callback)
    _check_signal(sig)
    self._check_closed()
    try:
        # First, because it raises ValueError on any thread but the main one, as signal() would.
        _claim_signals(self)
    except (ValueError, OSError) as error:
        raise RuntimeError(str(error)) from None
    origin = extract_stack(sys._getframe(1)) if self.get_debug() else None
    self._signal_handlers[sig] = (callback, args, contextvars.copy_context(), origin)
    try:
        # CPython writes into the wakeup fd only for signals that have a handler in Python.
        signal.signal(sig, _do_nothing)
        # Interrupted system calls are restarted.
        signal.siginterrupt(sig, False)
    except OSError as error:
        del self._signal_handlers[sig]
        release_signals(self)
        raise _cannot_catch(sig, error) from None


def remove_signal_handler(self: Loop, sig: int) -> bool:
    """Restores the default action of signal `sig`; returns whether there was a handler.

    Raises TypeError if `sig` is no int, ValueError if there is no such signal or on any thread
    but the main one.

    >>> import saburo, signal
    >>> loop = saburo.new_event_loop()
    >>> loop.remove_signal_handler(signal.SIGUSR1)
    False
    >>> loop.close()
    """
    _check_signal(sig)
    if self._signal_handlers.pop(sig, None) is None:
        return False
    default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
    try:
        signal.signal(sig, default)
    except OSError as error:
        raise _cannot_catch(sig, error) from None
    release_signals(self)
    return True


def handle_signals(self: Loop, data: bytes) -> None:
    """Queues the handlers of these signal numbers, which the engine has read from its waker."""
    for number in data:
        handler = self._signal_handlers.get(number)
        # None: the signal has a handler elsewhere only, or its handler was just removed.
        if handler is not None:
            callback, args, context, origin = handler
            handle = self.call_soon(callback, *args, context=context)
            if origin is not None:
                handle._source_traceback = origin  # type: ignore[attr-defined]


def _claim_signals(loop: Loop, *, from_others: bool = True) -> None:
    """Raises ValueError on any thread but the main one."""
    # Set at each claim, because other code may have changed it, and a fork changes the descriptor.
    descriptor = loop._signal_fd()
    if _wakeup.claim(descriptor, from_others=from_others):
        loop._signals_claimed = descriptor


def claim_signals_if_possible(loop: Loop) -> None:
    """For a run: on other threads than the main one, where no signals arrive, it does nothing."""
    with contextlib.suppress(ValueError):
        _claim_signals(loop, from_others=bool(loop._signal_handlers))


def release_signals(loop: Loop) -> None:
    """Gives the wakeup fd back, unless the loop is running or has handlers."""
    if loop._signals_claimed is None or loop._signal_handlers or loop.is_running():
        return
    descriptor, loop._signals_claimed = loop._signals_claimed, None
    _wakeup.release(descriptor)


def remove_signal_handlers(loop: Loop) -> None:
    """For close()."""
    if loop._signal_handlers and sys.is_finalizing():
        # The module `signal` no longer works.
        warnings.warn(
            f"Closing the loop {loop!r} on interpreter shutdown stage, "
            "skipping signal handlers removal",
            ResourceWarning,
            stacklevel=1,
            source=loop,
        )
        loop._signal_handlers.clear()
        return
    for sig in list(loop._signal_handlers):
        loop.remove_signal_handler(sig)


class _Wakeup:
    """The process's wakeup fd, which the loop that has claimed it last has."""

    def __init__(self) -> None:
        # Descriptors of the loops that have claimed it, the latest last.
        self._claims: list[int] = []
        # The wakeup fd before the first claim, -1 for none.
        self._before = -1

    def claim(self, descriptor: int, *, from_others: bool) -> bool:
        """Sets it to `descriptor`; without `from_others` only if no other code has set it.

        Returns whether it was set.
        """
        previous = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        if previous not in self._claims:
            if previous != -1 and not from_others:
                # It can be read only by setting it. A signal in between goes to `descriptor`.
                signal.set_wakeup_fd(previous, warn_on_full_buffer=False)
                return False
            self._before = previous
        if descriptor in self._claims:
            self._claims.remove(descriptor)
        self._claims.append(descriptor)
        return True

    def release(self, descriptor: int) -> None:
        if descriptor not in self._claims:
            return
        self._claims.remove(descriptor)
        try:
            current = signal.set_wakeup_fd(-1)
            if current != descriptor:
                # A loop has claimed it later, or other code has set it.
                following = current
            else:
                following = self._claims[-1] if self._claims else self._before
            if following != -1:
                signal.set_wakeup_fd(following, warn_on_full_buffer=False)
        except (ValueError, OSError) as error:
            # The earlier descriptor is closed by now, or this is not the main thread.
            logger.info("restoring the signal wakeup fd failed: %s", error)

    def forget(self) -> None:
        """In a forked child: its signals must not be written into the parent's waker."""
        if self._claims:
            self._claims.clear()
            signal.set_wakeup_fd(-1)


_wakeup = _Wakeup()


def _do_nothing(number: int, frame: object) -> None:
    """The handler in Python that each signal with a handler in a loop has."""


def _check_signal(sig: object) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")


def _cannot_catch(sig: int, error: OSError) -> Exception:
    if error.errno == errno.EINVAL:
        return RuntimeError(f"sig {sig} cannot be caught")
    return error


def _forked() -> None:
    reset_after_fork()
    _wakeup.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
