"""pidfds: descriptors that mean one process, also after its number has gone to another one.

Where the system has none, or refuses one, `open_pidfd` says None and the caller goes by the number.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the child `pid` ends, None if there cannot be one."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        # No such call in this Python or this kernel; forbidden by a sandbox; no descriptor left.
        return None


def send_signal(pidfd: int, sig: int) -> None:
    """Raises ProcessLookupError if the process is gone, PermissionError as `os.kill` does."""
    signal.pidfd_send_signal(pidfd, sig)


def status_left_behind(pidfd: int) -> int | None:
    """The wait status of a process that was reaped already, None if the kernel does not tell it.

    Linux 6.15 and later do, as long as somebody holds a pidfd of it.
    """
    info = bytearray(_INFO.size)
    _INFO.pack_into(info, 0, _INFO_EXIT, 0)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    known, status = _INFO.unpack(info)
    return status if known & _INFO_EXIT else None


# struct pidfd_info of <linux/pidfd.h>, in its first version: what is known, 52 bytes about the
# process, the wait status.
_INFO = struct.Struct("=Q52xi")
_INFO_EXIT = 1 << 3
# _IOWR(0xFF, 11, struct pidfd_info)
_GET_INFO = 0xC000_FF0B | _INFO.size << 16
