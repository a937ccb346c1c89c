"""The files of Unix sockets: a stale one is replaced, and ours removed when its server closes."""

from __future__ import annotations

import contextlib
import os
import stat

from . import _os_calls
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SocketFile:
    """The file that a Unix socket was bound to, to be removed if it is still the same."""

    def __init__(self, path: str | bytes, loop: Any) -> None:
        """Raises FileNotFoundError if it is gone already."""
        self._loop = loop
        self._forks = loop._forks
        # The program may be in another folder when the time comes.
        self._path = _os_calls.absolute(path)
        self._identity = _identity(self._path)

    def remove(self) -> None:
        if self._loop._forks != self._forks:
            # A child that was forked while the loop ran has a copy; the server is its parent's.
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                if _identity(self._path) == self._identity:
                    _os_calls.unlink(self._path)
        except OSError as error:
            logger.error("Unable to clean up listening UNIX socket %r: %r", self._path, error)


def remove_stale_socket(path: str | bytes) -> None:
    """Removes the socket that a program before us has left at `path`, if there is one."""
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(_os_calls.stat(path).st_mode):
                _os_calls.unlink(path)
    except OSError as error:
        # The folder may be one in which sockets can be made but not looked at.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, error)


def set_mode(path: str | bytes, mode: int) -> None:
    """Sets the permissions of a file that was just made; removes it if that is impossible."""
    try:
        _os_calls.chmod(path, mode)
    except BaseException:
        with contextlib.suppress(OSError):
            _os_calls.unlink(path)
        raise


def is_in_file_system(path: str | bytes) -> bool:
    """Abstract sockets, whose name begins with a zero byte, and unnamed ones are not."""
    first = os.fsencode(path)[:1]
    return first not in (b"", b"\0")


def _identity(path: str | bytes) -> tuple[int, int]:
    found = _os_calls.stat(path)
    return found.st_dev, found.st_ino
