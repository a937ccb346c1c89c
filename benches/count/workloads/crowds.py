"""A hundred coroutines at once, through asyncio's ways of waiting; an operation is a coroutine."""

from __future__ import annotations

import asyncio

from benches.cases.tasks import trivial
from benches.count.workload import workload

CROWD = 100


@workload(5 * CROWD, 15 * CROWD)
async def gather(operations: int) -> int:
    """`gather` of coroutines that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        seen += sum(await asyncio.gather(*(trivial() for _ in range(CROWD))))
    return seen


@workload(5 * CROWD, 15 * CROWD)
async def gather_sleeping(operations: int) -> int:
    """`gather` of coroutines that sleep 10 ms."""

    async def nap() -> int:
        return await asyncio.sleep(0.01, 1)

    seen = 0
    for _ in range(operations // CROWD):
        seen += sum(await asyncio.gather(*(nap() for _ in range(CROWD))))
    return seen


@workload(5 * CROWD, 15 * CROWD)
async def as_completed(operations: int) -> int:
    """Iteration over `as_completed` of coroutines that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        for result in asyncio.as_completed([trivial() for _ in range(CROWD)]):
            seen += await result
    return seen


@workload(5 * CROWD, 15 * CROWD)
async def wait(operations: int) -> int:
    """`wait` for tasks that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        done, _ = await asyncio.wait([asyncio.create_task(trivial()) for _ in range(CROWD)])
        seen += sum(task.result() for task in done)
    return seen


@workload(5 * CROWD, 15 * CROWD)
async def task_group(operations: int) -> int:
    """A TaskGroup with children that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(trivial()) for _ in range(CROWD)]
        seen += sum(child.result() for child in children)
    return seen
