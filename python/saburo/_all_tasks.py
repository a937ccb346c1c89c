"""The loops there are: told of a fork, and asked for their tasks by `asyncio.all_tasks()`.

asyncio keeps its tasks in a WeakSet, which costs more than making one of ours. So that set is given
a class which also yields the unfinished tasks of our loops, when the first loop is made; importing
saburo changes nothing. asyncio itself picks those of the loop it was asked about.
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
_is_in_force = False
# asyncio's own tasks that this process has left to the one it was forked from. They are kept:
# letting go of one would run its `finally` here.
_left_to_parents: list[asyncio.Task[Any]] = []


def remember(loop: Loop) -> None:
    """Lists a loop that has just been made, for as long as it lives."""
    global _is_in_force
    if not _is_in_force:
        _is_in_force = True
        _share_set()
        if sys.version_info >= (3, 14):
            from ._call_graph import keep_waiters

            keep_waiters()
    _loops.add(loop)


def leave_tasks_to_parent(loop: Loop) -> None:
    """For a forked child that has left the run of its parent's loop.

    Whoever cleans up then cancels and awaits what is listed, and none of that goes on. asyncio
    knows its own tasks in a child only once no loop is running (3.14).
    """
    for task in asyncio.all_tasks(loop):
        _left_to_parents.append(task)
        asyncio.tasks._unregister_task(task)


class _AllTasks(weakref.WeakSet):  # type: ignore[type-arg]
    """asyncio's set of tasks, and ours."""

    # Found there by a saburo that is imported once more, as tools do that keep tests apart.
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
            return  # the children of a fork are told of these
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def _asyncio_sets() -> list[Any]:
    if sys.version_info < (3, 12):
        return [vars(asyncio.tasks)["_all_tasks"]]
    if sys.version_info < (3, 14):
        return [vars(asyncio.tasks)["_scheduled_tasks"]]
    # Since 3.14 the C module keeps it to itself; it is the only WeakSet it refers to.
    import _asyncio

    return [held for held in gc.get_referents(_asyncio) if isinstance(held, weakref.WeakSet)]


def _before_fork() -> None:
    # What is written before a fork leaves before it.
    thread = threading.get_ident()
    for loop in list(_loops):
        if loop._thread_id == thread:
            loop._send_gathered()


def _after_fork_in_child() -> None:
    for loop in list(_loops):
        loop._after_fork()
