"""Ten thousand coroutines at once, through each of asyncio's ways of waiting for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine

from benches.case import coroutine_case
from benches.cases.tasks import trivial

CROWD = 10_000


@coroutine_case("gather 10k, trivial", operations=3 * CROWD, step=CROWD)
async def gather_trivial(operations: int) -> int:
    """`gather` of 10,000 coroutines that return at once."""
    return await _gathered(operations, trivial)


@coroutine_case("gather 10k that sleep 10 ms", operations=2 * CROWD, step=CROWD)
async def gather_sleeping(operations: int) -> int:
    """`gather` of 10,000 coroutines that sleep 10 ms; processor time, so the sleep is free."""

    async def nap() -> int:
        return await asyncio.sleep(0.01, 1)

    return await _gathered(operations, nap)


async def _gathered(operations: int, make: Callable[[], Coroutine[object, object, int]]) -> int:
    seen = 0
    for _ in range(operations // CROWD):
        seen += sum(await asyncio.gather(*(make() for _ in range(CROWD))))
    return seen


@coroutine_case("as_completed 10k", operations=3 * CROWD, step=CROWD)
async def as_completed_10k(operations: int) -> int:
    """Plain iteration over `as_completed` of 10,000 coroutines that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        for result in asyncio.as_completed([trivial() for _ in range(CROWD)]):
            seen += await result
    return seen


@coroutine_case("as_completed 10k with tqdm", operations=3 * CROWD, step=CROWD, module="tqdm")
async def as_completed_tqdm(operations: int) -> int:
    """The same below a progress bar that is really drawn, into the null device."""
    from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]

    seen = 0
    with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230 (the null device never blocks)
        for _ in range(operations // CROWD):
            crowd = asyncio.as_completed([trivial() for _ in range(CROWD)])
            for result in tqdm(crowd, total=CROWD, file=nowhere):
                seen += await result
    return seen


@coroutine_case("wait, 10k", operations=3 * CROWD, step=CROWD)
async def wait_10k(operations: int) -> int:
    """`wait` for 10,000 tasks that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        done, pending = await asyncio.wait([asyncio.create_task(trivial()) for _ in range(CROWD)])
        seen += sum(task.result() for task in done) - len(pending)
    return seen


@coroutine_case("wait, FIRST_COMPLETED of 100", operations=2_000, step=100, with_idle_socket=True)
async def wait_first(operations: int) -> int:
    """`wait(FIRST_COMPLETED)` until none of 100 tasks is left, one finishing per turn."""
    loop = asyncio.get_running_loop()
    seen = 0

    async def follow(signal: asyncio.Future[int]) -> int:
        return await signal

    for _ in range(operations // 100):
        signals: list[asyncio.Future[int]] = [loop.create_future() for _ in range(100)]
        pending = {asyncio.create_task(follow(signal)) for signal in signals}
        for signal in signals:
            loop.call_soon(signal.set_result, 1)
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            seen += sum(task.result() for task in done)
        assert not pending
    return seen


@coroutine_case("TaskGroup 10k", operations=3 * CROWD, step=CROWD)
async def task_group_10k(operations: int) -> int:
    """A TaskGroup with 10,000 children that return at once."""
    seen = 0
    for _ in range(operations // CROWD):
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(trivial()) for _ in range(CROWD)]
        seen += sum(child.result() for child in children)
    return seen
