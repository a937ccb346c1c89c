"""Call graphs (3.14 and later): who waits for whom.

asyncio keeps that in its own futures and ignores those of others. So when the first loop is made,
the two functions by which it is told are replaced: futures of ours remember their waiters
themselves, all others go where they went before. Importing saburo changes nothing.
"""

from __future__ import annotations

import asyncio
from asyncio import futures

from . import _saburo


def keep_waiters() -> None:
    """Makes `asyncio.future_add_to_awaited_by` and its opposite know futures of ours."""
    for name in ("future_add_to_awaited_by", "future_discard_from_awaited_by"):
        for module in (futures, asyncio):
            setattr(module, name, getattr(_saburo, name))
