"""How the loop learns that a child has ended: from its pidfd, and where there is none by looking.

A pidfd is a descriptor like any other: no helper thread, no handler for SIGCHLD, on any thread, and
none of the program's other children is touched. An exit is told in the same callback that reaps.
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
            pass  # the kernel watches no more descriptors; this one still serves for signals
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
        # Deregistered before it is closed; it need not have been registered.
        _saburo.Loop.remove_reader(loop, child.pidfd)
    child.let_go()
    if exited is not None:
        exited(code)


def let_children_go(loop: Loop) -> None:
    """For close(): those that have ended leave no zombie, the others run on."""
    for child in _dismiss_children(loop):
        child.is_running()
        child.let_go()


def after_fork(loop: Loop) -> None:
    for child in _dismiss_children(loop):
        child.inherit()
        if child.pidfd is not None:
            # RuntimeError: the parent runs this loop, and nothing of it is to be touched here.
            with contextlib.suppress(RuntimeError):
                _saburo.Loop.remove_reader(loop, child.pidfd)
        child.let_go()


def _dismiss_children(loop: Loop) -> list[Child]:
    # A loop whose __init__ was not called has none.
    watched: set[Child] = getattr(loop, "_children", set())
    children = list(watched)
    watched.clear()
    if loop._polled is not None:
        loop._polled.close()
    return children
