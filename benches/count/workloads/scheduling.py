"""Callbacks, tasks and futures: what `python -m benches` times, and the smallest calls."""

from __future__ import annotations

import asyncio

import benches.cases  # noqa: F401  (fills CASES)
from benches.count.workload import from_case, workload

from_case("call_soon_chain", 500, 3_000)
from_case("call_soon_1k", 2_000, 8_000)
from_case("sleep0_one", 500, 3_000)
from_case("sleep0_100", 1_000, 4_000)
from_case("create_task_await", 500, 2_000)
from_case("eager_task", 500, 2_000)
from_case("future_call_soon", 500, 2_000)
from_case("ping_pong", 500, 2_000)
from_case("wait_first", 100, 500)
from_case("wait_for_completes", 300, 1_300)
from_case("wait_for_times_out", 200, 700)
from_case("shield", 300, 1_300)
from_case("lock_contended", 500, 2_000)
from_case("semaphore_contended", 500, 2_000)
from_case("event_contended", 500, 2_000)
from_case("queue_contended", 500, 2_000)
from_case("new_loop", 20, 100)


@workload(500, 3_000)
async def loop_time(operations: int) -> int:
    """`loop.time()`."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    seen = 0
    for _ in range(operations):
        now = loop.time()
        seen += now > last
        last = now
    return seen


@workload(500, 3_000)
async def create_future(operations: int) -> int:
    """`loop.create_future()`, set at once and let go."""
    loop = asyncio.get_running_loop()
    seen = 0
    for _ in range(operations):
        future: asyncio.Future[int] = loop.create_future()
        future.set_result(1)
        seen += future.result()
    return seen


@workload(500, 2_000)
async def done_callback(operations: int) -> int:
    """A callback added to a future that is set, and called in the next turn."""
    loop = asyncio.get_running_loop()
    seen = 0

    def count(_: asyncio.Future[None]) -> None:
        nonlocal seen
        seen += 1

    for _ in range(operations):
        future: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(count)
        future.set_result(None)
        await asyncio.sleep(0)
    return seen


@workload(300, 1_300)
async def cancel_task(operations: int) -> int:
    """A task that waits for a future is cancelled and awaited."""
    loop = asyncio.get_running_loop()

    async def wait(future: asyncio.Future[None]) -> None:
        await future

    seen = 0
    for _ in range(operations):
        task = asyncio.create_task(wait(loop.create_future()))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            seen += 1
    return seen


@workload(500, 2_000)
async def call_soon_threadsafe_at_home(operations: int) -> int:
    """`call_soon_threadsafe` from the loop's own thread, ten a turn."""
    loop = asyncio.get_running_loop()
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    for _ in range(operations // 10):
        for _ in range(10):
            loop.call_soon_threadsafe(count)
        await asyncio.sleep(0)
    return seen
