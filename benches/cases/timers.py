"""Timers, a hundred thousand at once."""

from __future__ import annotations

import asyncio

from benches.case import coroutine_case

TIMERS = 100_000


@coroutine_case("call_later and cancel 100k", operations=TIMERS, step=TIMERS)
async def call_later_cancel(operations: int) -> int:
    """Set 100,000 timers, cancel them all, and let the loop turn once to be rid of them."""
    loop = asyncio.get_running_loop()
    seen = 0

    def fired() -> None:
        raise AssertionError("a cancelled timer fired")

    for _ in range(operations // TIMERS):
        timers = [loop.call_later(10 + i % 100, fired) for i in range(TIMERS)]
        for timer in timers:
            timer.cancel()
        await asyncio.sleep(0)
        seen += sum(timer.cancelled() for timer in timers)
    return seen


@coroutine_case("call_later, fire 100k", operations=TIMERS, step=TIMERS)
async def call_later_fire(operations: int) -> int:
    """Set 100,000 timers of 0 to 10 ms, and wait until all have fired."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    seen = 0

    def fired() -> None:
        nonlocal seen
        seen += 1
        if seen == operations:
            done.set_result(None)

    for i in range(operations):
        loop.call_later(i * 7919 % 1000 / 100_000, fired)
    await done
    return seen
