"""Blocking functions in threads and processes.

A loop has two pools. One runs what the program wants to run: the loop's own threads (see `_pool`),
or the executor that the program has put in their place. A small one is for name lookups alone, so
that a program can still connect when the first is full.

Semantics: asyncio's, except that contextvars are copied into the default executor.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import threading
import warnings

from . import _saburo
from ._compat import is_coroutine_function
from ._pool import Pool, usual_number_of_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from typing import Any, Protocol, TypeVar, TypeVarTuple

    from ._loop import Loop

    _T = TypeVar("_T")
    _Ts = TypeVarTuple("_Ts")

    class _Closable(Protocol):
        def shutdown(self, wait: bool = True) -> None: ...


# Lookups wait for the network without the interpreter's lock; threads are made only when needed.
_RESOLVER_THREADS = 16


def run_in_any_executor(
    self: Loop, executor: Executor | None, func: Callable[..., _T], *args: Any
) -> asyncio.Future[_T]:
    """`run_in_executor` of anything but a job for the loop's own threads, once they exist."""
    self._check_closed()
    if self.get_debug() and is_coroutine_function(func):
        raise TypeError("coroutines cannot be used with run_in_executor()")
    _saburo.check_callable("run_in_executor", func)
    if executor is not None:
        job = executor.submit(func, *args)
    else:
        check_default_executor(self)
        executor = self._default_executor
        if executor is None and self._native_tasks:
            if self._pool is None:
                self._pool = Pool(usual_number_of_threads())
            submitted: asyncio.Future[_T] = self._pool._submit(self, func, *args)
            return submitted
        if executor is None:
            executor = self._asyncio_pool
        if executor is None:
            executor = self._asyncio_pool = concurrent.futures.ThreadPoolExecutor(
                thread_name_prefix="asyncio"
            )
        context = contextvars.copy_context()
        job = executor.submit(functools.partial(context.run, func, *args))
    return asyncio.wrap_future(job, loop=self)


def set_default_executor(self: Loop, executor: Executor) -> None:
    """Makes `run_in_executor(None, …)` and `asyncio.to_thread` use `executor`.

    Raises TypeError if it is not a `concurrent.futures.ThreadPoolExecutor`. The loop shuts it
    down when it is closed.

    >>> import concurrent.futures, saburo
    >>> loop = saburo.new_event_loop()
    >>> loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(max_workers=2))
    >>> loop.close()
    """
    if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        raise TypeError("executor must be ThreadPoolExecutor instance")
    self._default_executor = executor
    if self._pool is not None:
        # The jobs that it has are still done, as by an executor that is not referred to any more.
        self._pool.shutdown(wait=False)
        self._pool = None


async def shutdown_default_executor(self: Loop, timeout: float | None = None) -> None:
    """Lets the pools of the loop finish what they run, and waits for their threads to end.

    `timeout` is in seconds, None means no limit; after it, a RuntimeWarning is given and the
    threads are left to themselves. From the call on, `run_in_executor(None, …)` raises
    RuntimeError. Semantics: asyncio of Python 3.12 and later, on every version.

    >>> import asyncio, saburo
    >>> async def main():
    ...     await asyncio.to_thread(sum, [1, 2])
    ...     await asyncio.get_running_loop().shutdown_default_executor(timeout=10)
    >>> saburo.run(main())
    """
    self._executor_shutdown_called = True
    pools = _pools(self)
    if not pools:
        return
    if self._pool is not None:
        self._pool.shutdown(wait=False)
    joined = self.create_future()
    thread = threading.Thread(target=_do_shutdown, args=(self, pools, joined))
    thread.start()
    try:
        async with asyncio.timeout(timeout):
            await joined
    except TimeoutError:
        warnings.warn(
            f"The executor did not finishing joining its threads within {timeout} seconds.",
            RuntimeWarning,
            stacklevel=2,
        )
        for pool in pools:
            pool.shutdown(wait=False)
    else:
        thread.join()


def run_in_resolver(loop: Loop, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
    loop._check_closed()
    check_default_executor(loop)
    if loop._resolver is None:
        # Thread numbers go on where those of the default executor end.
        loop._resolver = Pool(_RESOLVER_THREADS, first_number=usual_number_of_threads())
    submitted: asyncio.Future[_T] = loop._resolver._submit(loop, func, *args)
    return submitted


def _pools(loop: Loop) -> list[_Closable]:
    pools = (loop._pool, loop._default_executor, loop._asyncio_pool, loop._resolver)
    return [pool for pool in pools if pool is not None]


def check_default_executor(loop: Loop) -> None:
    if loop._executor_shutdown_called:
        raise RuntimeError("Executor shutdown has been called")


def _do_shutdown(loop: Loop, pools: list[_Closable], joined: asyncio.Future[None]) -> None:
    """On a thread of its own: waits for the pools, then tells the loop.

    The thread is named after this function, which is called as asyncio's.
    """
    try:
        for pool in pools:
            pool.shutdown(wait=True)
        tell = functools.partial(_settle, joined, None)
    except Exception as error:
        tell = functools.partial(_settle, joined, error)
    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        # The loop was closed meanwhile.
        assert loop.is_closed()


def dismiss_pools(loop: Loop) -> None:
    """For close(): takes no new jobs and does not wait for the running ones."""
    loop._executor_shutdown_called = True
    pools = _pools(loop)
    loop._pool = loop._default_executor = loop._asyncio_pool = loop._resolver = None
    for pool in pools:
        pool.shutdown(wait=False)


def after_fork(loop: Loop) -> None:
    # Their threads are not in this process. An executor that the program has set stays.
    loop._asyncio_pool = loop._resolver = None


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    # The caller may have been cancelled, or have run out of time.
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
