"""The files of Unix sockets: an old one is replaced, a server's is removed when it closes."""

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
    """The file of a server's Unix socket, to be removed if it is still the same file."""

    def __init__(self, path: str | bytes, loop: Any) -> None:
        """Raises FileNotFoundError if there is no file."""
        self._loop = loop
        self._forks = loop._forks
        # The current folder may be another one when the file is removed.
        self._path = _os_calls.absolute(path)
        self._identity = _identity(self._path)

    def remove(self) -> None:
        if self._loop._forks != self._forks:
            # This is a child that was forked while the loop ran: the server is the parent's.
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                if _identity(self._path) == self._identity:
                    _os_calls.unlink(self._path)
        except OSError as error:
            logger.error("Unable to clean up listening UNIX socket %r: %r", self._path, error)


def remove_stale_socket(path: str | bytes) -> None:
    """Removes the socket that an earlier program has left at `path`, if there is one."""
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(_os_calls.stat(path).st_mode):
                _os_calls.unlink(path)
    except OSError as error:
        # bind() may still work: a folder may allow new files, but not to look at them.
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
    """False for abstract sockets, whose name begins with a zero byte, and for unnamed ones."""
    first = os.fsencode(path)[:1]
    return first not in (b"", b"\0")


def _identity(path: str | bytes) -> tuple[int, int]:
    found = _os_calls.stat(path)
    return found.st_dev, found.st_ino
