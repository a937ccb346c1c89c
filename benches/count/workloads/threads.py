"""Worker threads and the way back from them. Not judged: the kernel decides who waits for whom."""

from __future__ import annotations

import asyncio

from benches.cases.threads import one
from benches.count.workload import from_case, workload

from_case("call_soon_threadsafe", 500, 2_000, judged=False)
from_case("run_coroutine_threadsafe", 50, 250, judged=False)


@workload(100, 400, judged=False)
async def to_thread(operations: int) -> int:
    """`to_thread` of a function that does nothing, one after another."""
    seen = 0
    for _ in range(operations):
        seen += await asyncio.to_thread(one)
    return seen


@workload(100, 400, judged=False)
async def run_in_executor(operations: int) -> int:
    """`run_in_executor(None, ...)`, one after another."""
    loop = asyncio.get_running_loop()
    seen = 0
    for _ in range(operations):
        seen += await loop.run_in_executor(None, one)
    return seen


@workload(500, 2_000, judged=False)
async def to_thread_crowd(operations: int) -> int:
    """`gather` of a hundred `to_thread` calls at a time."""
    seen = 0
    for _ in range(operations // 100):
        seen += sum(await asyncio.gather(*(asyncio.to_thread(one) for _ in range(100))))
    return seen
