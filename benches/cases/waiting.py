"""Waiting for one thing with a limit or a shield around it."""

from __future__ import annotations

import asyncio

from benches.case import coroutine_case
from benches.cases.tasks import trivial


@coroutine_case("wait_for that completes", operations=40_000, with_idle_socket=True)
async def wait_for_completes(operations: int) -> int:
    """`wait_for` with a limit that is never reached, around a coroutine that suspends once."""

    async def step() -> int:
        await asyncio.sleep(0)
        return 1

    seen = 0
    for _ in range(operations):
        seen += await asyncio.wait_for(step(), 10)
    return seen


@coroutine_case("wait_for that times out", operations=10_000, step=100)
async def wait_for_times_out(operations: int) -> int:
    """`wait_for` of a future that never comes, limit 1 ms, by 100 tasks at a time."""
    loop = asyncio.get_running_loop()

    async def impatient() -> int:
        seen = 0
        for _ in range(operations // 100):
            never: asyncio.Future[None] = loop.create_future()
            try:
                await asyncio.wait_for(never, 0.001)
            except TimeoutError:
                seen += never.cancelled()
        return seen

    return sum(await asyncio.gather(*(impatient() for _ in range(100))))


@coroutine_case("shield", operations=40_000, with_idle_socket=True)
async def shield(operations: int) -> int:
    """`shield` of a coroutine that returns at once."""
    seen = 0
    for _ in range(operations):
        seen += await asyncio.shield(trivial())
    return seen
