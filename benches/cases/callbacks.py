"""Plain callbacks: no task takes part but the one that waits for the end."""

from __future__ import annotations

import asyncio
import threading

from benches.case import Measure, coroutine_case


@coroutine_case("call_soon, self-rescheduling chain", operations=400_000, with_idle_socket=True)
async def call_soon_chain(operations: int) -> int:
    """One callback that schedules itself again: the price of a whole turn of the loop."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    seen = 0

    def again() -> None:
        nonlocal seen
        seen += 1
        if seen < operations:
            loop.call_soon(again)
        else:
            done.set_result(None)

    loop.call_soon(again)
    await done
    return seen


@coroutine_case("call_soon, batch of 1,000", operations=300_000, step=1_000, with_idle_socket=True)
async def call_soon_1k(operations: int) -> int:
    """A thousand callbacks in one turn: the price of a callback without that of the turn."""
    return await _batches(operations, 1_000)


@coroutine_case("call_soon, batch of 100,000", operations=300_000, step=100_000)
async def call_soon_100k(operations: int) -> int:
    """A hundred thousand callbacks in one turn: as above, with a queue that outgrows the caches."""
    return await _batches(operations, 100_000)


async def _batches(operations: int, size: int) -> int:
    loop = asyncio.get_running_loop()
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    for _ in range(operations // size):
        for _ in range(size):
            loop.call_soon(count)
        await asyncio.sleep(0)
    return seen


@coroutine_case(
    "call_soon_threadsafe from another thread",
    operations=200_000,
    measures=(Measure.WALL,),
    with_idle_socket=True,
)
async def call_soon_threadsafe(operations: int) -> int:
    """Another thread posts callbacks as fast as it can while the loop runs them."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == operations:
            done.set_result(None)

    def post() -> None:
        for _ in range(operations):
            loop.call_soon_threadsafe(count)

    poster = threading.Thread(target=post)
    poster.start()
    await done
    poster.join()
    return seen
