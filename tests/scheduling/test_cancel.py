"""Cancellation: when it arrives, how often it counts, what it carries, and whom it reaches."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import pytest
from support.both_loops import turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def started(loop: Loop, coroutine: Any) -> asyncio.Task[Any]:
    task = loop.create_task(coroutine)
    turn(loop)
    return task


def test_a_waiting_task_is_cancelled_with_its_message(loop: Loop) -> None:
    task = started(loop, forever())
    assert task.cancel("enough")
    assert not task.cancelled()
    turn(loop)
    turn(loop)
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError, match="^enough$"):
        loop.run_until_complete(task)


def test_a_task_cancelled_before_its_first_step_never_starts(loop: Loop) -> None:
    seen: list[int] = []

    async def step() -> None:
        seen.append(1)

    task = loop.create_task(step())
    task.cancel()
    turn(loop)
    assert task.cancelled()
    assert seen == []


def test_a_done_task_cannot_be_cancelled(loop: Loop) -> None:
    task = loop.create_task(asyncio.sleep(0))
    loop.run_until_complete(task)
    assert not task.cancel()
    assert not task.cancelled()
    assert task.cancelling() == 0


def test_cancelling_twice_counts_twice_and_throws_once(loop: Loop) -> None:
    seen: list[str] = []

    async def stubborn() -> str:
        for _ in range(2):
            try:
                await forever()
            except asyncio.CancelledError as error:
                seen.append(str(error))
        return "survived"

    task = started(loop, stubborn())
    task.cancel("one")
    task.cancel("two")
    assert task.cancelling() == 2
    turn(loop)
    turn(loop)
    assert seen == ["one"]
    task.cancel("three")
    assert task.cancelling() == 3
    assert loop.run_until_complete(task) == "survived"
    assert len(seen) == 2


def test_uncancel_takes_requests_back(loop: Loop) -> None:
    task = started(loop, forever())
    task.cancel()
    task.cancel()
    assert [task.uncancel(), task.uncancel(), task.uncancel()] == [1, 0, 0]
    assert task.cancelling() == 0
    turn(loop, 2)
    assert task.cancelled()  # it was thrown already


def test_uncancel_to_zero_before_the_throw(loop: Loop) -> None:
    """From 3.13 on it takes back a cancellation not thrown yet; before, it does not."""
    seen: list[str] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        task.uncancel()
        try:
            await asyncio.sleep(0)
            seen.append("not cancelled")
        except asyncio.CancelledError:
            seen.append("cancelled")

    loop.run_until_complete(main())
    assert seen == ["not cancelled" if sys.version_info >= (3, 13) else "cancelled"]


def test_a_task_that_cancels_itself_is_thrown_at_its_next_wait(loop: Loop) -> None:
    seen: list[str] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel("by itself")
        seen.append("still here")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            seen.append(str(error))
            raise

    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(main())
    assert seen == ["still here", "by itself"]


def test_a_cancel_during_the_last_step_turns_a_return_into_cancelled(loop: Loop) -> None:
    async def main() -> str:
        task = asyncio.current_task()
        assert task
        task.cancel("too late?")
        return "returned"

    task = loop.create_task(main())
    with pytest.raises(asyncio.CancelledError, match="too late?"):
        loop.run_until_complete(task)
    assert task.cancelled()


def test_a_cancel_between_wakeup_and_step_still_throws(loop: Loop) -> None:
    future = loop.create_future()
    seen: list[Any] = []

    async def wait() -> None:
        try:
            seen.append(await future)
        except asyncio.CancelledError:
            seen.append("cancelled")

    task = started(loop, wait())
    future.set_result("a result that came first")
    task.cancel()
    loop.run_until_complete(task)
    assert seen == ["cancelled"]


def test_the_awaited_future_is_cancelled_and_the_chain_with_it(loop: Loop) -> None:
    future = loop.create_future()

    async def wait(awaitable: Any) -> None:
        await awaitable

    inner = started(loop, wait(future))
    outer = started(loop, wait(inner))
    outermost = started(loop, wait(outer))
    outermost.cancel("down the chain")
    assert future.cancelled()
    turn(loop, 5)
    assert inner.cancelled()
    assert outer.cancelled()
    assert outermost.cancelled()
    with pytest.raises(asyncio.CancelledError, match="down the chain"):
        outermost.result()


def test_the_error_that_cancels_is_the_one_the_waiter_sees(loop: Loop) -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel("with this message")
        try:
            await task
        except asyncio.CancelledError as error:
            assert error.args == ("with this message",)
            assert error.__traceback__ is not None

    loop.run_until_complete(main())


@pytest.mark.parametrize("message", [None, "text", 42, ("a", "tuple"), ValueError("an error")])
def test_any_object_can_be_the_message(loop: Loop, message: Any) -> None:
    task = started(loop, forever())
    task.cancel(message)
    turn(loop, 2)
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert caught.value.args == (() if message is None else (message,))


def test_a_task_may_refuse_and_return(loop: Loop) -> None:
    async def refuse() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            pass
        return "refused"

    task = started(loop, refuse())
    task.cancel()
    assert loop.run_until_complete(task) == "refused"
    assert not task.cancelled()
    assert task.cancelling() == 1


def test_another_error_during_cancellation_wins(loop: Loop) -> None:
    async def fail() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise LookupError("while tidying up") from None

    task = started(loop, fail())
    task.cancel()
    with pytest.raises(LookupError):
        loop.run_until_complete(task)


def test_tidying_up_may_take_turns(loop: Loop) -> None:
    seen: list[str] = []

    async def tidy() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            seen.append("tidied")
            await asyncio.sleep(0.001)
            seen.append("up")

    task = started(loop, tidy())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert seen == ["tidied", "up"]


def test_shield_keeps_the_inner_task(loop: Loop) -> None:
    async def main() -> str:
        inner = asyncio.create_task(asyncio.sleep(0.001, "inner"))
        outer = asyncio.shield(inner)
        waiter = asyncio.create_task(wait(outer))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert outer.cancelled()
        assert not inner.cancelled()
        return await inner

    async def wait(awaitable: Any) -> Any:
        return await awaitable

    assert loop.run_until_complete(main()) == "inner"


def test_an_inner_error_behind_a_cancelled_shield_is_reported_as_in_asyncio(loop: Loop) -> None:
    """Versions differ in whether it is news; the loops must not."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("nobody is left to see this")

    async def main() -> None:
        inner = asyncio.create_task(fail())
        outer = asyncio.shield(inner)
        outer.cancel()
        for _ in range(4):
            await asyncio.sleep(0)

    def reports(loop: Loop) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        loop.set_exception_handler(
            lambda _loop, context: found.append((context["message"], repr(context["exception"])))
        )
        loop.run_until_complete(main())
        gc.collect()
        return found

    reference = asyncio.new_event_loop()
    assert reports(loop) == reports(reference)
    reference.close()


def test_gather_cancels_its_children_and_reports_itself_cancelled(loop: Loop) -> None:
    async def main() -> list[bool]:
        children = [asyncio.create_task(forever()) for _ in range(3)]
        gathered = asyncio.gather(*children)
        await asyncio.sleep(0)
        gathered.cancel("all of you")
        with pytest.raises(asyncio.CancelledError):
            await gathered
        return [child.cancelled() for child in children]

    assert loop.run_until_complete(main()) == [True, True, True]


def test_wait_for_that_times_out_waits_until_the_inner_task_has_tidied_up(loop: Loop) -> None:
    seen: list[str] = []

    async def slow() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.001)
            seen.append("tidied up")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(), 0.001)
        seen.append("timed out")

    loop.run_until_complete(main())
    assert seen == ["tidied up", "timed out"]


def test_a_timeout_and_a_cancel_from_outside_at_once_is_a_cancel(loop: Loop) -> None:
    async def main() -> None:
        async with asyncio.timeout(0):
            task = asyncio.current_task()
            assert task
            task.cancel("from outside")
            await forever()

    task = loop.create_task(main())
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    assert task.cancelled()


def test_nested_timeouts_blame_the_right_one(loop: Loop) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001) as outer:
                async with asyncio.timeout(60) as inner:
                    await forever()
        assert outer.expired()
        assert not inner.expired()
        task = asyncio.current_task()
        assert task
        assert task.cancelling() == 0

    loop.run_until_complete(main())


def test_tasks_that_wait_for_each_other_are_too_much_to_cancel(loop: Loop) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def wait_for(number: int) -> None:
        await tasks[number]

    tasks += [loop.create_task(wait_for(1)), loop.create_task(wait_for(0))]
    turn(loop)
    with pytest.raises(RecursionError):
        tasks[0].cancel()
    assert not tasks[0].done()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()


@pytest.mark.many_objects
def test_a_long_chain_of_tasks_is_cancelled_or_refused_but_breaks_nothing(loop: Loop) -> None:
    async def wait_for(task: Any) -> None:
        await task

    first = task = loop.create_task(forever())
    for _ in range(100_000):
        task = loop.create_task(wait_for(task))
    turn(loop)
    with pytest.raises(RecursionError):
        task.cancel()
    assert first.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_cancelling_a_sleeper_removes_its_timer(loop: Loop) -> None:
    async def main() -> None:
        sleepers = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(100)]
        await asyncio.sleep(0)
        for sleeper in sleepers:
            sleeper.cancel()
        results = await asyncio.gather(*sleepers, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)

    loop.run_until_complete(main())


def test_a_cancelled_getter_loses_no_item(loop: Loop) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        one = asyncio.create_task(queue.get())
        two = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put_nowait(7)  # wakes the first
        one.cancel()  # which must hand it on
        results = await asyncio.gather(one, two, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] == 7

    loop.run_until_complete(main())


def test_a_cancelled_lock_waiter_hands_the_lock_on(loop: Loop) -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        one = asyncio.create_task(lock.acquire())
        two = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        lock.release()
        one.cancel()
        results = await asyncio.gather(one, two, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] is True
        lock.release()

    loop.run_until_complete(main())


def test_the_whole_story_is_that_of_asyncio(loop: Loop) -> None:
    """Messages, counts and order of a knot of tasks cancelling one another."""

    def story(loop: Loop) -> list[str]:
        seen: list[str] = []

        async def worker(name: str, refuse: int, target: list[asyncio.Task[Any]]) -> str:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError as error:
                    task = asyncio.current_task()
                    assert task
                    seen.append(f"{name}: {error} {task.cancelling()}")
                    seen.extend(f"{name} -> {other.cancel(f'from {name}')}" for other in target)
                    if not refuse:
                        raise
                    refuse -= 1
                    task.uncancel()

        async def main() -> None:
            c = asyncio.create_task(worker("c", 2, []))
            b = asyncio.create_task(worker("b", 1, [c]))
            a = asyncio.create_task(worker("a", 0, [b, c]))
            await asyncio.sleep(0)
            b.cancel("one")
            b.cancel("two")
            await asyncio.sleep(0)
            a.cancel("three")
            for _ in range(10):
                await asyncio.sleep(0)
            c.cancel("four")
            results = await asyncio.gather(a, b, c, return_exceptions=True)
            seen.extend(repr(result) for result in results)

        loop.run_until_complete(main())
        return seen

    reference = asyncio.new_event_loop()
    assert story(loop) == story(reference)
    reference.close()
