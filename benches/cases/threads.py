"""Worker threads and the way back from them. Latencies are wall time: the hand-over counts."""

from __future__ import annotations

import asyncio

from benches.case import THREADS, Measure, coroutine_case
from benches.cases.tasks import trivial

WALL = (Measure.WALL,)


def one() -> int:
    return 1


@coroutine_case(
    "to_thread, one after another, idle loop", operations=2_000, group=THREADS, measures=WALL
)
async def to_thread_idle(operations: int) -> int:
    """Latency of `to_thread` of a function that does nothing, on a loop with nothing else to do."""
    return await _one_after_another(operations)


@coroutine_case(
    "to_thread, one after another, busy loop", operations=1_000, group=THREADS, measures=WALL
)
async def to_thread_busy(operations: int) -> int:
    """The same while another task yields again and again, so that the loop never sleeps."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    spinner = asyncio.create_task(spin())
    try:
        return await _one_after_another(operations)
    finally:
        spinner.cancel()


async def _one_after_another(operations: int) -> int:
    seen = 0
    for _ in range(operations):
        seen += await asyncio.to_thread(one)
    return seen


@coroutine_case(
    "to_thread, 10k at once", operations=10_000, step=10_000, group=THREADS, measures=WALL
)
async def to_thread_10k(operations: int) -> int:
    """`gather` of 10,000 `to_thread` calls of a function that does nothing."""
    return sum(await asyncio.gather(*(asyncio.to_thread(one) for _ in range(operations))))


@coroutine_case(
    "run_in_executor(None), 1,000 at once",
    operations=10_000,
    step=1_000,
    group=THREADS,
    measures=WALL,
)
async def executor_1k(operations: int) -> int:
    """`gather` of 1,000 `run_in_executor` calls on the default executor, again and again."""
    loop = asyncio.get_running_loop()
    seen = 0
    for _ in range(operations // 1_000):
        seen += sum(await asyncio.gather(*(loop.run_in_executor(None, one) for _ in range(1_000))))
    return seen


@coroutine_case(
    "run_coroutine_threadsafe round trip", operations=3_000, group=THREADS, measures=WALL
)
async def run_coroutine_threadsafe(operations: int) -> int:
    """Another thread runs a trivial coroutine on the loop and waits for its result, one by one."""
    loop = asyncio.get_running_loop()

    def client() -> int:
        seen = 0
        for _ in range(operations):
            seen += asyncio.run_coroutine_threadsafe(trivial(), loop).result()
        return seen

    return await asyncio.to_thread(client)
