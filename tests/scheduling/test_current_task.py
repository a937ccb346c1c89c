"""asyncio.current_task and asyncio.all_tasks, seen from everywhere."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from support.both_loops import run_until, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


def test_a_task_is_current_in_its_steps_and_nowhere_else(loop: Loop) -> None:
    seen: list[Any] = []

    async def child() -> None:
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    task = loop.create_task(child())
    loop.call_soon(lambda: seen.append(asyncio.current_task()))
    loop.run_until_complete(task)
    assert seen == [task, None, task]
    assert asyncio.current_task(loop) is None
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.current_task()


def test_it_is_none_after_an_error_or_exit_in_a_task(loop: Loop) -> None:
    async def leave() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        loop.run_until_complete(leave())
    assert asyncio.current_task(loop) is None


def test_it_is_none_in_callbacks_of_futures(loop: Loop) -> None:
    seen: list[Any] = []

    async def child() -> None:
        await asyncio.sleep(0)

    task = loop.create_task(child())
    task.add_done_callback(lambda _done: seen.append(asyncio.current_task()))
    loop.run_until_complete(task)
    turn(loop)
    assert seen == [None]


def test_current_task_is_known_while_idle_elsewhere(loop: Loop) -> None:
    """Asked for another loop, from outside, during a run: the task or none, never an error."""
    seen: list[Any] = []

    async def child() -> None:
        await asyncio.to_thread(lambda: seen.append(asyncio.current_task(loop)))

    loop.run_until_complete(child())
    assert len(seen) == 1


def test_all_tasks_are_the_unfinished_ones(loop: Loop) -> None:
    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    event = asyncio.Event()
    tasks = {loop.create_task(wait(event)) for _ in range(10)}
    assert asyncio.all_tasks(loop) == tasks
    turn(loop)
    assert asyncio.all_tasks(loop) == tasks
    some = tasks.pop()
    some.cancel()
    turn(loop, 2)
    assert asyncio.all_tasks(loop) == tasks
    event.set()
    turn(loop, 2)
    assert asyncio.all_tasks(loop) == set()


def test_all_tasks_from_inside_includes_the_asker(loop: Loop) -> None:
    async def main() -> None:
        child = asyncio.create_task(asyncio.sleep(0))
        assert asyncio.all_tasks() == {asyncio.current_task(), child}
        await child
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop.run_until_complete(main())


def test_tasks_of_other_loops_are_not_included(new_loop: Any) -> None:
    one, two = new_loop(), new_loop()
    task = one.create_task(asyncio.sleep(0))
    other = two.create_task(asyncio.sleep(0))
    assert asyncio.all_tasks(one) == {task}
    assert asyncio.all_tasks(two) == {other}
    for loop, each in ((one, task), (two, other)):
        loop.run_until_complete(each)
        loop.close()


def test_all_tasks_from_another_thread(loop: Loop) -> None:
    seen: list[set[Any]] = []

    async def main() -> None:
        await asyncio.to_thread(lambda: seen.append(asyncio.all_tasks(loop)))

    task = loop.create_task(main())
    loop.run_until_complete(task)
    assert seen == [{task}]


def test_tasks_of_several_kinds_are_listed_together(loop: Loop) -> None:
    async def main() -> None:
        ours = asyncio.create_task(asyncio.sleep(0))
        theirs = asyncio.Task(asyncio.sleep(0))
        assert {ours, theirs} <= asyncio.all_tasks()
        await asyncio.gather(ours, theirs)

    loop.run_until_complete(main())


def test_loops_in_several_threads_know_their_own_tasks(new_loop: Any) -> None:
    failures: list[BaseException] = []

    async def walk() -> None:
        me = asyncio.current_task()
        for _ in range(200):
            await asyncio.sleep(0)
            assert asyncio.current_task() is me
            assert me in asyncio.all_tasks()
            assert len(asyncio.all_tasks()) <= 5

    async def main() -> None:
        await asyncio.gather(*(walk() for _ in range(4)))

    def work() -> None:
        loop = new_loop()
        try:
            loop.run_until_complete(main())
        except BaseException as error:
            failures.append(error)
        finally:
            loop.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_enter_and_leave_task_of_frameworks_that_step_by_hand(loop: Loop) -> None:
    """anyio and others tell asyncio which task they step."""
    seen: list[Any] = []

    async def main() -> None:
        outer = asyncio.current_task()
        assert outer
        other = asyncio.Task(asyncio.sleep(0))
        asyncio.tasks._leave_task(loop, outer)
        asyncio.tasks._enter_task(loop, other)
        seen.append(asyncio.current_task() is other)
        asyncio.tasks._leave_task(loop, other)
        asyncio.tasks._enter_task(loop, outer)
        seen.append(asyncio.current_task() is outer)
        await other

    loop.run_until_complete(main())
    assert seen == [True, True]
    run_until(loop, lambda: not asyncio.all_tasks(loop))


def test_it_is_none_while_the_result_of_a_finished_task_goes(loop: Loop) -> None:
    seen: list[Any] = []

    class Last:
        def __del__(self) -> None:
            seen.append(asyncio.current_task(loop))

    async def give() -> Any:
        return Last()

    async def fail() -> None:
        raise LookupError(Last())

    async def main() -> None:
        for work in (give, fail, give):
            loop.create_task(work())
            for _ in range(3):
                await asyncio.sleep(0)

    loop.set_exception_handler(lambda _loop, _context: None)
    loop.run_until_complete(main())
    gc.collect()
    assert seen == [None] * 3
