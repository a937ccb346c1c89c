"""`asyncio.all_tasks()` finds the tasks of saburo's loops, and a forked child finds the loops.

asyncio keeps its tasks in a WeakSet. Adding a task to it costs more than making one of saburo's.
So when the first loop is made, that set is given a class that also yields the unfinished tasks of
saburo's loops; asyncio picks those of the loop it was asked about. Importing saburo changes
nothing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ._loop import Loop

_loops: weakref.WeakSet[Loop] = weakref.WeakSet()
_is_shared = False
# Tasks of asyncio's own class that belong to the process this one was forked from. They are kept,
# because freeing one would run its `finally` here.
_tasks_of_parents: list[asyncio.Task[Any]] = []


def remember(loop: Loop) -> None:
    """Lists a loop that has just been made, for as long as it lives."""
    global _is_shared
    if not _is_shared:
        _is_shared = True
        _share_set()
        if sys.version_info >= (3, 14):
            from ._call_graph import record_waiters

            record_waiters()
    _loops.add(loop)


def leave_tasks_to_parent(loop: Loop) -> None:
    """In a forked child that has left `run_forever`: takes the parent's tasks off asyncio's list.

    `asyncio.run` would cancel and await them, and wait for ever. Since 3.14 asyncio lists its own
    tasks in a child only once no loop is running, so this cannot be done at the fork.
    """
    for task in asyncio.all_tasks(loop):
        _tasks_of_parents.append(task)
        asyncio.tasks._unregister_task(task)


class _AllTasks(weakref.WeakSet):  # type: ignore[type-arg]
    """asyncio's set of tasks, which also yields saburo's."""

    # For a saburo that is imported a second time, as some test tools do.
    saburo_loops = _loops

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        for loop in list(_loops):
            yield from loop._unfinished_tasks()


def _share_set() -> None:
    global _loops
    for tasks in _asyncio_sets():
        if type(tasks) is weakref.WeakSet:
            tasks.__class__ = _AllTasks
            break
        listed = getattr(type(tasks), "saburo_loops", None)
        if listed is not None:
            _loops = listed
            return  # the hooks for forks are there and use this list
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def _asyncio_sets() -> list[Any]:
    if sys.version_info < (3, 12):
        return [vars(asyncio.tasks)["_all_tasks"]]
    if sys.version_info < (3, 14):
        return [vars(asyncio.tasks)["_scheduled_tasks"]]
    # Since 3.14 it is private to the C module, and the only WeakSet that the module refers to.
    import _asyncio

    return [held for held in gc.get_referents(_asyncio) if isinstance(held, weakref.WeakSet)]


def _before_fork() -> None:
    # Data written before the fork is sent before it.
    thread = threading.get_ident()
    for loop in list(_loops):
        if loop._thread_id == thread:
            loop._send_gathered()


def _after_fork_in_child() -> None:
    for loop in list(_loops):
        loop._after_fork()
