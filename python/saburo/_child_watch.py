"""How the loop learns that a child has ended: by its pidfd, and where there is none by polling.

A pidfd is a descriptor like any other, so this needs no thread, no handler of SIGCHLD and not the
main thread, and does not touch other children of the program. The callback that reaps a child also
reports its exit.
"""

from __future__ import annotations

import contextlib
import functools

from . import _saburo
from ._child import Child
from ._child_polling import PolledChildren

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from ._loop import Loop


def watch_child(
    loop: Loop, process: subprocess.Popen[bytes], exited: Callable[[int], object]
) -> Child:
    """Calls `exited(code)` in the loop, once, when `process` has ended."""
    child = Child(process, exited)
    loop._children.add(child)
    if child.pidfd is not None:
        try:
            _saburo.Loop.add_reader(loop, child.pidfd, _child_ended, loop, child)
            return child
        except OSError:
            pass  # the selector takes no more descriptors; the pidfd is still used for signals
    if loop._polled is None:
        loop._polled = PolledChildren(loop, functools.partial(_child_ended, loop))
    loop._polled.add(child)
    return child


def _child_ended(loop: Loop, child: Child) -> None:
    code = child.reap(has_ended=True)
    assert code is not None, child.process
    exited = child.exited
    loop._children.discard(child)
    if child.pidfd is not None:
        # Before it is closed. Does nothing if the child was polled.
        _saburo.Loop.remove_reader(loop, child.pidfd)
    child.let_go()
    if exited is not None:
        exited(code)


def dismiss_children(loop: Loop) -> None:
    """For close(): reaps the children that have ended, and leaves the others running."""
    for child in _take_children(loop):
        child.is_running()
        child.let_go()


def after_fork(loop: Loop) -> None:
    for child in _take_children(loop):
        child.inherit()
        if child.pidfd is not None:
            # RuntimeError: the parent runs this loop, and a child must not change it.
            with contextlib.suppress(RuntimeError):
                _saburo.Loop.remove_reader(loop, child.pidfd)
        child.let_go()


def _take_children(loop: Loop) -> list[Child]:
    # A loop whose __init__ was not called has no `_children`.
    watched: set[Child] = getattr(loop, "_children", set())
    children = list(watched)
    watched.clear()
    if loop._polled is not None:
        loop._polled.close()
    return children
