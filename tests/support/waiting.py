"""Waiting in a coroutine for what comes some turns later, or not within PATIENCE."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from support.both_loops import PATIENCE


async def wait(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)
