"""The threads of a loop's own pool: made, named and waited for as those of `ThreadPoolExecutor`.

What a thread does from its first job to its last is native (`_saburo.Pool`). The rule: a program
does not end before every job that was taken is done.
"""

from __future__ import annotations

import os
import threading
import weakref

from . import _saburo

# Those whose threads may still run; told to end when the interpreter does.
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_interpreter_ends = False


class Pool(_saburo.Pool):
    """The threads that `run_in_executor(None, …)`, `asyncio.to_thread` and name lookups use.

    A thread is made when there is a job and none that waits for one, up to `limit` of them.
    """

    def __init__(self, limit: int, first_number: int = 0) -> None:
        super().__init__(limit)
        self._first_number = first_number
        self._threads: list[threading.Thread] = []
        # Held while a thread is started: it may be in the midst of a job before start() returns.
        self._hiring = threading.RLock()
        _pools.add(self)
        if _interpreter_ends:
            self._finish()
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def shutdown(self, wait: bool = True) -> None:
        """Takes no new jobs; `wait` for those that were taken."""
        self._finish()
        if wait:
            with self._hiring:
                threads = list(self._threads)
            for thread in threads:
                thread.join()

    def _hire(self, number: int) -> None:
        # The name is asyncio's: people tell threads in a dump by it, and test suites that look for
        # threads left behind know those that the loop keeps.
        name = f"asyncio_{self._first_number + number}"
        thread = threading.Thread(target=self._work, name=name)
        with self._hiring:
            try:
                thread.start()
            finally:
                # Ctrl-C may have ended the wait for a thread that does run.
                if thread.ident is not None:
                    self._threads.append(thread)


def usual_number_of_threads() -> int:
    """How many a `ThreadPoolExecutor` has at most, where nobody says."""
    # Since 3.13 by the processors that the process may use.
    count = getattr(os, "process_cpu_count", os.cpu_count)
    return min(32, (count() or 1) + 4)


def _end() -> None:
    """Before the interpreter joins its threads: these would wait for jobs for ever."""
    global _interpreter_ends
    _interpreter_ends = True
    pools = list(_pools)
    for pool in pools:
        pool.shutdown(wait=False)
    for pool in pools:
        pool.shutdown()


def _after_fork_in_child() -> None:
    """None of the threads is here, and the jobs are the parent's."""
    global _pools
    for pool in list(_pools):
        pool._abandon()
    _pools = weakref.WeakSet()


# As concurrent.futures does: its threads, too, may be daemons, if the one that made them is.
threading._register_atexit(_end)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
