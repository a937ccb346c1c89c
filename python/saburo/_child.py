"""Child: a child process, from its start until its exit code is known.

The rule: a child is reaped in one place, `reap`, and what it has left is known from then on. So no
signal goes to a number that the kernel may have given to another process since.
"""

from __future__ import annotations

import operator
import os
import sys

from . import _pidfd
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Callable

# What asyncio says where nobody can know the code any more.
_UNKNOWN = 255


class Child:
    """A child process of this one."""

    def __init__(self, process: subprocess.Popen[bytes], exited: Callable[[int], object]) -> None:
        self.process = process
        # To be called once, with the exit code; None once it was, or nobody waits any more.
        self.exited: Callable[[int], object] | None = exited
        # Ours to close.
        self.pidfd = _pidfd.open_pidfd(process.pid)
        # In a forked process: the child is the parent's, neither to be waited for nor to be killed.
        self.is_inherited = False

    def send_signal(self, sig: int) -> None:
        """Does nothing if the child has ended. Raises ProcessLookupError in a forked process, whose
        child it is not, and PermissionError as `os.kill` does."""
        if self.is_inherited:
            raise ProcessLookupError
        if self.process.returncode is not None:
            return
        try:
            if self.pidfd is not None:
                # What audit hooks are told of `os.kill`, of which this is a safer one.
                sys.audit("os.kill", self.process.pid, operator.index(sig))
                _pidfd.send_signal(self.pidfd, sig)
            else:
                os.kill(self.process.pid, sig)
        except ProcessLookupError:
            pass

    def is_running(self) -> bool:
        """Whether it is there to be killed; one that has ended is reaped."""
        return not self.is_inherited and self.reap(has_ended=False) is None

    def reap(self, *, has_ended: bool) -> int | None:
        """The exit code, None while the child runs; `has_ended` says that it does not."""
        process = self.process
        lock: threading.Lock = process._waitpid_lock  # type: ignore[attr-defined]
        # Another thread may be inside of `Popen.wait()`, and leaves the code when it comes out.
        if not lock.acquire(blocking=has_ended):
            return None
        try:
            if process.returncode is None:
                try:
                    pid, status = os.waitpid(process.pid, 0 if has_ended else os.WNOHANG)
                except ChildProcessError:
                    process.returncode = self._code_left_behind()
                else:
                    if pid:
                        process.returncode = os.waitstatus_to_exitcode(status)
            code: int | None = process.returncode
            return code
        finally:
            lock.release()

    def _code_left_behind(self) -> int:
        """Somebody else has waited for it, or the program ignores SIGCHLD."""
        status = None if self.pidfd is None else _pidfd.status_left_behind(self.pidfd)
        if status is not None:
            return os.waitstatus_to_exitcode(status)
        logger.warning(
            "child process pid %d exit status already read:  will report returncode %d",
            self.process.pid,
            _UNKNOWN,
        )
        return _UNKNOWN

    def let_go(self) -> None:
        """Nobody waits for the exit any more."""
        self.exited = None
        pidfd, self.pidfd = self.pidfd, None
        if pidfd is not None:
            os.close(pidfd)

    def inherit(self) -> None:
        """In a forked process."""
        self.is_inherited = True
