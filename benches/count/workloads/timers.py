"""Timers, five hundred at once. An operation is a timer."""

from __future__ import annotations

import asyncio

from benches.count.workload import workload

TIMERS = 500


@workload(2 * TIMERS, 6 * TIMERS)
async def call_later_cancel(operations: int) -> int:
    """Set timers and cancel them all."""
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


@workload(2 * TIMERS, 6 * TIMERS)
async def call_later_fire(operations: int) -> int:
    """Set timers of 0 to 10 ms, and wait until all have fired."""
    loop = asyncio.get_running_loop()
    seen = 0

    def fired() -> None:
        nonlocal seen
        seen += 1

    for _ in range(operations // TIMERS):
        for i in range(TIMERS):
            loop.call_later(i * 7919 % 1000 / 100_000, fired)
        await asyncio.sleep(0.02)
    return seen


@workload(300, 1_300)
async def sleep_1ms(operations: int) -> int:
    """One task sleeps a millisecond: a timer, a sleep of the loop, and the way back."""
    seen = 0
    for _ in range(operations):
        seen += await asyncio.sleep(0.001, 1)
    return seen


@workload(500, 2_000)
async def timeout(operations: int) -> int:
    """`async with timeout()` that is never reached, around nothing."""
    seen = 0
    for _ in range(operations):
        async with asyncio.timeout(10):  # noqa: ASYNC100 (nothing is awaited, so nothing else counts)
            seen += 1
    return seen
