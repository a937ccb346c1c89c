"""Child: a child process, from its start until its exit code is known.

The rule: a child is reaped in one place, `reap`, which stores its exit code. So no signal is sent
to a process id that the kernel may have given to another process since.
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

# asyncio's exit code for a child whose own cannot be found out.
_UNKNOWN = 255


class Child:
    """A child process of this one."""

    def __init__(self, process: subprocess.Popen[bytes], exited: Callable[[int], object]) -> None:
        self.process = process
        # To be called once, with the exit code; None afterwards, or once the loop is closed.
        self.exited: Callable[[int], object] | None = exited
        # Closed by let_go().
        self.pidfd = _pidfd.open_pidfd(process.pid)
        # This is a forked process: the child is its parent's, not to be reaped or killed here.
        self.is_inherited = False

    def send_signal(self, sig: int) -> None:
        """Does nothing if the child has ended.

        Raises ProcessLookupError in a forked process, and PermissionError as `os.kill` does.
        """
        if self.is_inherited:
            raise ProcessLookupError
        if self.process.returncode is not None:
            return
        try:
            if self.pidfd is not None:
                # The same audit event as of `os.kill`.
                sys.audit("os.kill", self.process.pid, operator.index(sig))
                _pidfd.send_signal(self.pidfd, sig)
            else:
                os.kill(self.process.pid, sig)
        except ProcessLookupError:
            pass

    def is_running(self) -> bool:
        """Whether the child can be killed; one that has ended is reaped."""
        return not self.is_inherited and self.reap(has_ended=False) is None

    def reap(self, *, has_ended: bool) -> int | None:
        """The exit code, None while the child runs; `has_ended` says that it does not."""
        process = self.process
        lock: threading.Lock = process._waitpid_lock  # type: ignore[attr-defined]
        # Another thread may be inside of `Popen.wait()`, which will set the code.
        if not lock.acquire(blocking=has_ended):
            return None
        try:
            if process.returncode is None:
                try:
                    pid, status = os.waitpid(process.pid, 0 if has_ended else os.WNOHANG)
                except ChildProcessError:
                    process.returncode = self._code_of_reaped()
                else:
                    if pid:
                        process.returncode = os.waitstatus_to_exitcode(status)
            code: int | None = process.returncode
            return code
        finally:
            lock.release()

    def _code_of_reaped(self) -> int:
        """The code of a child that was reaped by other code, or because SIGCHLD is ignored."""
        status = None if self.pidfd is None else _pidfd.status_of_reaped(self.pidfd)
        if status is not None:
            return os.waitstatus_to_exitcode(status)
        logger.warning(
            "child process pid %d exit status already read:  will report returncode %d",
            self.process.pid,
            _UNKNOWN,
        )
        return _UNKNOWN

    def let_go(self) -> None:
        """The exit is no longer waited for."""
        self.exited = None
        pidfd, self.pidfd = self.pidfd, None
        if pidfd is not None:
            os.close(pidfd)

    def inherit(self) -> None:
        """In a forked process."""
        self.is_inherited = True
