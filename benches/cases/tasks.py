"""Tasks and futures, one or two at a time."""

from __future__ import annotations

import asyncio

from benches.case import coroutine_case


async def trivial(value: int = 1) -> int:
    return value


@coroutine_case("await sleep(0), one task", operations=150_000, with_idle_socket=True)
async def sleep0_one(operations: int) -> int:
    """One task yields while no other is ready: suspend, one turn of the loop, resume."""
    return await _give_way(operations)


@coroutine_case("await sleep(0), 100 tasks", operations=200_000, step=100, with_idle_socket=True)
async def sleep0_100(operations: int) -> int:
    """A hundred tasks yield to each other: suspend and resume, a hundred in a turn."""
    return sum(await asyncio.gather(*(_give_way(operations // 100) for _ in range(100))))


async def _give_way(times: int) -> int:
    seen = 0
    for _ in range(times):
        await asyncio.sleep(0)
        seen += 1
    return seen


@coroutine_case("create_task + await", operations=60_000, with_idle_socket=True)
async def create_task_await(operations: int) -> int:
    """A task for a coroutine that returns at once, awaited before the next is made."""
    seen = 0
    for _ in range(operations):
        seen += await asyncio.create_task(trivial())
    return seen


@coroutine_case("eager task", operations=150_000, since=(3, 12))
async def eager_task(operations: int) -> int:
    """The same under `asyncio.eager_task_factory`: the task is done before create_task returns."""
    # By name, because type checkers read this as Python 3.11 would.
    asyncio.get_running_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
    seen = 0
    for _ in range(operations):
        seen += await asyncio.create_task(trivial())
    return seen


@coroutine_case("future set by call_soon", operations=100_000, with_idle_socket=True)
async def future_call_soon(operations: int) -> int:
    """A task awaits a future that a callback of the next turn sets."""
    loop = asyncio.get_running_loop()
    seen = 0
    for _ in range(operations):
        future: asyncio.Future[int] = loop.create_future()
        loop.call_soon(future.set_result, 1)
        seen += await future
    return seen


@coroutine_case("two tasks in ping-pong", operations=200_000, step=2, with_idle_socket=True)
async def ping_pong(operations: int) -> int:
    """Two tasks wake each other by turns through futures; an operation is one wake-up."""
    loop = asyncio.get_running_loop()
    balls: list[asyncio.Future[int]] = [loop.create_future(), loop.create_future()]

    async def play(me: int) -> int:
        seen = 0
        for _ in range(operations // 2):
            seen += await balls[me]
            balls[me] = loop.create_future()
            balls[1 - me].set_result(1)
        return seen

    players = [asyncio.create_task(play(me)) for me in (0, 1)]
    balls[0].set_result(1)
    return sum([await player for player in players])
