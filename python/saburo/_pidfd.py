"""pidfds: descriptors of a process, which stay correct when its id is given to another process.

Where there is none, `open_pidfd` returns None and the caller uses the process id.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the child `pid` ends; None if there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        # Python or the kernel lacks the call, a sandbox forbids it, or no descriptor is free.
        return None


def send_signal(pidfd: int, sig: int) -> None:
    """Raises ProcessLookupError if the process is gone, PermissionError as `os.kill` does."""
    signal.pidfd_send_signal(pidfd, sig)


def status_of_reaped(pidfd: int) -> int | None:
    """The wait status of a process that was reaped already; None if the kernel has not kept it.

    Linux 6.15 and later keep it as long as a pidfd of the process is open.
    """
    info = bytearray(_INFO.size)
    _INFO.pack_into(info, 0, _INFO_EXIT, 0)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    known, status = _INFO.unpack(info)
    return status if known & _INFO_EXIT else None


# struct pidfd_info of <linux/pidfd.h>, first version: a mask of the fields that are set, 52 bytes
# about the process, the wait status.
_INFO = struct.Struct("=Q52xi")
_INFO_EXIT = 1 << 3
# _IOWR(0xFF, 11, struct pidfd_info)
_GET_INFO = 0xC000_FF0B | _INFO.size << 16
