"""The cores: what is measured has one to itself, and its load another.

The scheduler would move them about, and a server that shares its core with the load is measured
together with how the two are interleaved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Core(IntEnum):
    """By its place among those this process may use. The first, which tends to handle interrupts,
    is the load's."""

    LOAD = 0
    MEASURED = -1


@contextmanager
def on(core: Core | None) -> Iterator[None]:
    """Processes started in here, by this thread, run on that core only; on any, if None."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
