"""The threads of a loop's own pool: made, named and joined as those of `ThreadPoolExecutor`.

What a thread does between its start and its end is native (`_saburo.Pool`). The rule: a program
does not end before every job that was submitted is done.
"""

from __future__ import annotations

import os
import threading
import weakref

from . import _saburo

# All pools, to be shut down when the interpreter ends.
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_interpreter_ends = False


class Pool(_saburo.Pool):
    """The threads that `run_in_executor(None, …)`, `asyncio.to_thread` and name lookups use.

    A thread is made when there is a job and no idle thread, up to `limit` threads.
    """

    def __init__(self, limit: int, first_number: int = 0) -> None:
        super().__init__(limit)
        self._first_number = first_number
        self._threads: list[threading.Thread] = []
        # Held while a thread is started, which may be running a job before start() returns.
        self._starting = threading.RLock()
        _pools.add(self)
        if _interpreter_ends:
            self._finish()
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def shutdown(self, wait: bool = True) -> None:
        """Takes no new jobs; with `wait`, waits for those that were submitted."""
        self._finish()
        if wait:
            with self._starting:
                threads = list(self._threads)
            for thread in threads:
                thread.join()

    def _start_thread(self, number: int) -> None:
        # asyncio's name: it is what people look for in a dump of threads, and what test suites that
        # look for leaked threads ignore.
        name = f"asyncio_{self._first_number + number}"
        thread = threading.Thread(target=self._work, name=name)
        with self._starting:
            try:
                thread.start()
            finally:
                # After Ctrl-C in start() the thread may be running.
                if thread.ident is not None:
                    self._threads.append(thread)


def usual_number_of_threads() -> int:
    """The default limit of a `ThreadPoolExecutor`."""
    # Since 3.13 it counts only processors that the process may use.
    count = getattr(os, "process_cpu_count", os.cpu_count)
    return min(32, (count() or 1) + 4)


def _end() -> None:
    """Called before the interpreter joins its threads: idle ones would wait for jobs for ever."""
    global _interpreter_ends
    _interpreter_ends = True
    pools = list(_pools)
    for pool in pools:
        pool.shutdown(wait=False)
    for pool in pools:
        pool.shutdown()


def _after_fork_in_child() -> None:
    """The threads are not in this process, and the jobs are the parent's."""
    global _pools
    for pool in list(_pools):
        pool._abandon()
    _pools = weakref.WeakSet()


# As concurrent.futures does, and not atexit: that comes after all threads were joined.
threading._register_atexit(_end)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
