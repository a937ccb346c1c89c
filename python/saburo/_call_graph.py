"""Call graphs (3.14 and later): which task waits for which future.

asyncio records this in futures of its own class only. So when the first loop is made, the two
functions that record it are replaced: a future of saburo's records its waiters itself, every other
future is passed to asyncio's function. Importing saburo changes nothing.
"""

from __future__ import annotations

import asyncio
from asyncio import futures

from . import _saburo


def record_waiters() -> None:
    """Replaces `asyncio.future_add_to_awaited_by` and `future_discard_from_awaited_by`."""
    for name in ("future_add_to_awaited_by", "future_discard_from_awaited_by"):
        for module in (futures, asyncio):
            setattr(module, name, getattr(_saburo, name))
