"""Ctrl-C for a program in another process."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from support.both_loops import PATIENCE, Kind


def press_ctrl_c(program: subprocess.Popen[str], kind: Kind) -> None:
    """Sends SIGINT to a program whose loop is idle, or about to be.

    Saburo notices it at any moment. Asyncio sleeps on if it comes in the few instructions before
    `epoll_wait`: Python's handler runs only when something else wakes the loop. So asyncio's
    program is given the time to fall asleep.
    """
    if not kind.is_saburo:
        wait_until_asleep(program)
    program.send_signal(signal.SIGINT)


def wait_until_asleep(program: subprocess.Popen[str]) -> None:
    """Returns when the program's main thread waits in a system call."""
    state = Path(f"/proc/{program.pid}/stat")
    deadline = time.monotonic() + PATIENCE
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline, "it never sleeps"
        time.sleep(0.001)
