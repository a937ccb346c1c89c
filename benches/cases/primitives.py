"""asyncio's own Lock, Event, Semaphore and Queue when tasks must wait for them."""

from __future__ import annotations

import asyncio

from benches.case import coroutine_case

TASKS = 10


@coroutine_case("Lock, contended", operations=60_000, step=TASKS, with_idle_socket=True)
async def lock_contended(operations: int) -> int:
    """Ten tasks want one lock, and hold it for a turn."""
    return await _in_turn(asyncio.Lock(), operations)


@coroutine_case("Semaphore, contended", operations=60_000, step=TASKS, with_idle_socket=True)
async def semaphore_contended(operations: int) -> int:
    """Ten tasks want one of three permits, and hold it for a turn."""
    return await _in_turn(asyncio.Semaphore(3), operations)


async def _in_turn(gate: asyncio.Lock | asyncio.Semaphore, operations: int) -> int:
    async def work() -> int:
        seen = 0
        for _ in range(operations // TASKS):
            async with gate:
                await asyncio.sleep(0)
                seen += 1
        return seen

    return sum(await asyncio.gather(*(work() for _ in range(TASKS))))


@coroutine_case("Event, contended", operations=50_000, step=2, with_idle_socket=True)
async def event_contended(operations: int) -> int:
    """Two tasks wake each other by turns through events; an operation is one wake-up."""
    events = asyncio.Event(), asyncio.Event()

    async def play(me: int) -> int:
        seen = 0
        for _ in range(operations // 2):
            await events[me].wait()
            events[me].clear()
            seen += 1
            events[1 - me].set()
        return seen

    events[0].set()
    return sum(await asyncio.gather(play(0), play(1)))


@coroutine_case("Queue, contended", operations=60_000, step=TASKS, with_idle_socket=True)
async def queue_contended(operations: int) -> int:
    """Five producers, five consumers and a queue of ten places; an operation is a put and a get."""
    queue: asyncio.Queue[int] = asyncio.Queue(10)
    share = operations // (TASKS // 2)

    async def produce() -> int:
        for _ in range(share):
            await queue.put(1)
        return 0

    async def consume() -> int:
        return sum([await queue.get() for _ in range(share)])

    pairs = (role() for _ in range(TASKS // 2) for role in (produce, consume))
    return sum(await asyncio.gather(*pairs))
