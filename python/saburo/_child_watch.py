"""How the loop learns that a child has ended: from its pidfd, and where there is none by looking.

A pidfd is a descriptor like any other: no helper thread, no handler for SIGCHLD, on any thread, and
none of the program's other children is touched. An exit is told in the same callback that reaps.
"""

from __future__ import annotations

import contextlib

from . import _saburo
from ._child import Child
from ._child_polling import PolledChildren
from ._signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


class Children(Signals):
    """The children of a loop that it waits for."""

    # Each is in the selector by its pidfd, or on the lookout.
    _children: set[Child]
    # Made when first needed.
    _polled: PolledChildren | None = None

    def _watch_child(
        self, process: subprocess.Popen[bytes], exited: Callable[[int], object]
    ) -> Child:
        """Calls `exited(code)` in the loop, once, when `process` has ended."""
        child = Child(process, exited)
        self._children.add(child)
        if child.pidfd is not None:
            try:
                _saburo.Loop.add_reader(self, child.pidfd, self._child_ended, child)
                return child
            except OSError:
                pass  # the kernel watches no more descriptors; this one still serves for signals
        if self._polled is None:
            self._polled = PolledChildren(self, self._child_ended)
        self._polled.add(child)
        return child

    def _child_ended(self, child: Child) -> None:
        code = child.reap(has_ended=True)
        assert code is not None, child.process
        exited = child.exited
        self._children.discard(child)
        if child.pidfd is not None:
            # Deregistered before it is closed; it need not have been registered.
            _saburo.Loop.remove_reader(self, child.pidfd)
        child.let_go()
        if exited is not None:
            exited(code)

    def _let_children_go(self) -> None:
        """For close(): those that have ended leave no zombie, the others run on."""
        for child in self._dismiss_children():
            child.is_running()
            child.let_go()

    def _after_fork(self) -> None:
        super()._after_fork()
        for child in self._dismiss_children():
            child.inherit()
            if child.pidfd is not None:
                # RuntimeError: the parent runs this loop, and nothing of it is to be touched here.
                with contextlib.suppress(RuntimeError):
                    _saburo.Loop.remove_reader(self, child.pidfd)
            child.let_go()

    def _dismiss_children(self) -> list[Child]:
        # A loop whose __init__ was not called has none.
        watched: set[Child] = getattr(self, "_children", set())
        children = list(watched)
        watched.clear()
        if self._polled is not None:
            self._polled.close()
        return children
