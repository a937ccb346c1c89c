"""Which frames the exception of a failed future or task has, by whom and when it is asked for.

Who awaits it, or asks for `result()`, is raised the exception with the traceback that it had when
the future failed. `exception()` changes nothing about it: somebody may be handling it.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.both_loops import Kind

pytestmark = pytest.mark.every_task_kind

Frames = list[tuple[str, list[str]]]
OWN = __file__


def frames(error: BaseException | None) -> Frames:
    """The functions of this file that an exception and its contexts have passed through."""
    found: Frames = []
    while error is not None:
        passed = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        names = [frame.f_code.co_name for frame in passed if frame.f_code.co_filename == OWN]
        found.append((type(error).__name__, names))
        error = error.__context__
    return found


def caught(call: Callable[[], Any]) -> Frames:
    try:
        call()
    except BaseException as error:
        return frames(error)
    return []


async def awaited(awaitable: Awaitable[Any]) -> Frames:
    try:
        await awaitable
    except BaseException as error:
        return frames(error)
    return []


async def fail() -> None:
    raise ValueError


async def fail_later() -> None:
    await asyncio.sleep(0)
    raise ValueError


async def done(coroutine: Any) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(coroutine)
    await asyncio.wait([task])
    return task


def raised() -> ValueError:
    """An exception that has been raised and caught."""
    try:
        raise ValueError
    except ValueError as error:
        return error


def failed(error: BaseException) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future


VALUE_ERROR = "ValueError"


# --- What exception() leaves alone. ---


async def asked_while_the_error_of_a_task_is_handled() -> Any:
    task = asyncio.get_running_loop().create_task(fail())
    try:
        await task
    except ValueError as error:
        before = frames(error)
        assert task.exception() is error
        return before, frames(error)


async def asked_while_the_error_of_a_future_is_handled() -> Any:
    future = failed(ValueError())
    try:
        await future
    except ValueError as error:
        future.exception()
        return frames(error)


async def asked_before_it_is_raised_further() -> Any:
    task = asyncio.get_running_loop().create_task(fail())

    async def handler() -> None:
        try:
            await task
        except ValueError:
            task.exception()
            raise

    return await awaited(handler())


async def asked_before_anybody_awaits() -> Any:
    task = await done(fail())
    return frames(task.exception()), await awaited(task)


async def asked_after_it_was_raised_elsewhere() -> Any:
    error = ValueError()
    future = failed(error)
    try:
        raise error
    except ValueError:
        pass
    return frames(future.exception()), caught(future.result)


async def asked_after_somebody_took_its_traceback() -> Any:
    task = await done(fail())
    task.exception().__traceback__ = None  # type: ignore[union-attr]
    return frames(task.exception()), caught(task.result)


async def asked_by_callbacks() -> Any:
    seen: list[Frames] = []
    task = asyncio.get_running_loop().create_task(fail())
    task.add_done_callback(lambda task: seen.append(frames(task.exception())))
    task.add_done_callback(lambda task: seen.append(caught(task.result)))
    task.add_done_callback(lambda task: seen.append(frames(task.exception())))
    await asyncio.wait([task])
    await asyncio.sleep(0)
    return seen


# --- What is raised. ---


async def result_of_a_task() -> Any:
    return caught((await done(fail())).result)


async def result_of_a_future() -> Any:
    return caught(failed(raised()).result)


async def result_asked_in_another_handler() -> Any:
    task = await done(fail())
    try:
        raise KeyError
    except KeyError:
        return caught(task.result)


async def awaited_before_it_failed() -> Any:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.get_running_loop().create_task(awaited(future))
    await asyncio.sleep(0)
    future.set_exception(raised())
    return await task


async def awaited_before_it_failed_with_a_fresh_one() -> Any:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.get_running_loop().create_task(awaited(future))
    await asyncio.sleep(0)
    future.set_exception(ValueError())
    return await task


async def gathered() -> Any:
    return await awaited(asyncio.gather(fail(), fail_later()))


async def gathered_and_returned() -> Any:
    (error,) = await asyncio.gather(fail_later(), return_exceptions=True)
    return frames(error)


async def waited_for() -> Any:
    return await awaited(asyncio.wait_for(fail_later(), 60))


async def shielded() -> Any:
    task = asyncio.get_running_loop().create_task(fail_later())
    return await awaited(asyncio.shield(task))


async def as_completed() -> Any:
    return [await awaited(each) for each in asyncio.as_completed([fail(), fail_later()])]


async def in_a_group() -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(fail())
    except BaseExceptionGroup as group_error:
        return frames(group_error.exceptions[0]), caught(task.result)


async def one_exception_of_two_tasks() -> Any:
    error = ValueError()

    async def fail_with_it() -> None:
        raise error

    one, two = await done(fail_with_it()), await done(fail_with_it())
    return frames(error), caught(one.result), caught(two.result)


async def cancelled_task() -> Any:
    task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel("why")
    return await awaited(task), await awaited(task), caught(task.result), caught(task.exception)


async def cancelled_future() -> Any:
    future = asyncio.get_running_loop().create_future()
    future.cancel("why")
    return await awaited(future), caught(future.result), caught(future.exception)


async def an_exception_for_a_message() -> Any:
    error = raised()
    task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel(error)
    return await awaited(task), frames(error)


async def thrown_into_an_awaiting_iterator() -> Any:
    error = raised()
    iterator = asyncio.get_running_loop().create_future().__await__()
    next(iterator)
    return caught(lambda: iterator.throw(error)), frames(error)


CASES = [
    value
    for name, value in list(globals().items())
    if asyncio.iscoroutinefunction(value) and not value.__code__.co_argcount and name[:4] != "fail"
]


def outcome(case: Callable[[], Any], new_loop: Callable[[], Any], *, in_handler: bool) -> Any:
    loop = new_loop()
    try:
        if not in_handler:
            return loop.run_until_complete(case())
        try:
            raise OSError
        except OSError:
            return loop.run_until_complete(case())
    finally:
        loop.close()


@pytest.mark.saburo_only
@pytest.mark.parametrize("in_handler", [False, True], ids=["", "run in an except block"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_frames_are_those_that_asyncio_tells(kind: Kind, case: Any, in_handler: bool) -> None:
    ours = outcome(case, kind.new_loop, in_handler=in_handler)
    assert ours == outcome(case, asyncio.new_event_loop, in_handler=in_handler)


def test_exception_changes_nothing_about_what_it_returns(run: Any) -> None:
    """The same said once without a comparison: the frames of who handles it are still there."""
    before, after = run(asked_while_the_error_of_a_task_is_handled())
    name = "asked_while_the_error_of_a_task_is_handled"
    assert before == after == [(VALUE_ERROR, [name, "fail"])]


@pytest.mark.saburo_only
def test_each_who_awaits_learns_where_it_failed(kind: Kind) -> None:
    """asyncio's futures in C tell only the first, those in Python tell all."""
    if not kind.has_native_tasks:
        pytest.skip("those are asyncio's")

    async def main() -> None:
        task = await done(fail())
        for _ in range(3):
            assert await awaited(task) == [(VALUE_ERROR, ["awaited", "fail"])]
            assert caught(task.result) == [(VALUE_ERROR, ["caught", "fail"])]

    loop = kind.new_loop()
    loop.run_until_complete(main())
    loop.close()
