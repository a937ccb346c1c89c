"""Eager tasks (3.12): the first step runs at once, inside whoever creates the task."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
from typing import Any

import pytest
from support.both_loops import Kind, turn

pytestmark = [
    pytest.mark.every_task_kind,
    pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of 3.12"),
]

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def eager(loop: Loop) -> Loop:
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


def test_a_task_that_never_waits_is_done_at_once(eager: Loop) -> None:
    async def value() -> str:
        return "at once"

    async def main() -> None:
        task = asyncio.create_task(value())
        assert task.done()
        assert isinstance(task, asyncio.Task)
        assert task not in asyncio.all_tasks()
        assert task.result() == "at once"
        assert await task == "at once"

    eager.run_until_complete(main())


def test_a_task_that_waits_goes_on_later(eager: Loop) -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append("child begins")
        await asyncio.sleep(0)
        seen.append("child ends")

    async def main() -> None:
        task = asyncio.create_task(child(), name="child")
        seen.append("created")
        assert task in asyncio.all_tasks()
        assert task.get_name() == "child"
        await task

    eager.run_until_complete(main())
    assert seen == ["child begins", "created", "child ends"]


def test_the_creator_is_the_current_task_again_afterwards(eager: Loop) -> None:
    seen: list[bool] = []

    outer: Any = None

    async def child() -> None:
        seen.append(asyncio.current_task() is not outer)
        await asyncio.sleep(0)

    async def main() -> None:
        nonlocal outer
        outer = asyncio.current_task()
        task = asyncio.create_task(child())
        seen.append(asyncio.current_task() is outer)
        await task
        seen.append(asyncio.current_task() is outer)

    eager.run_until_complete(main())
    assert seen == [True, True, True]


def test_errors_stay_in_the_task(eager: Loop) -> None:
    async def fail() -> None:
        raise LookupError("at once")

    async def main() -> None:
        task = asyncio.create_task(fail())
        assert task.done()
        with pytest.raises(LookupError, match="at once"):
            await task

    eager.run_until_complete(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_leaves_through_the_creator(eager: Loop, error: type[BaseException]) -> None:
    async def leave() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(error):
            asyncio.create_task(leave())
        raise error("again")

    with pytest.raises(error, match="again"):
        eager.run_until_complete(main())
    gc.collect()


def test_an_eager_task_can_be_cancelled(eager: Loop) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(3600))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def cancel_itself() -> None:
            task = asyncio.current_task()
            assert task
            task.cancel()
            await asyncio.sleep(0)

        task = asyncio.create_task(cancel_itself())
        with pytest.raises(asyncio.CancelledError):
            await task

    eager.run_until_complete(main())


def test_the_context_of_the_creator_is_not_changed(eager: Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def child() -> str:
        before = variable.get()
        variable.set("child's")
        await asyncio.sleep(0)
        return before + " " + variable.get()

    async def main() -> None:
        variable.set("creator's")
        assert await asyncio.create_task(child()) == "creator's child's"
        assert variable.get() == "creator's"
        context = contextvars.copy_context()
        context.run(variable.set, "given")
        assert await asyncio.create_task(child(), context=context) == "given child's"
        assert context[variable] == "child's"

    eager.run_until_complete(main())


def test_nested_eager_tasks_finish_from_inside_out(eager: Loop) -> None:
    seen: list[int] = []

    async def nest(depth: int) -> int:
        if depth:
            assert await asyncio.create_task(nest(depth - 1)) == depth - 1
        seen.append(depth)
        return depth

    eager.run_until_complete(nest(50))
    assert seen == list(range(51))


def test_outside_a_running_loop_the_first_step_waits(eager: Loop) -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append("child")

    task = eager.create_task(child())
    assert seen == []
    turn(eager)
    assert seen == ["child"]
    assert task.done()


def test_gather_and_task_groups_with_eager_tasks(eager: Loop) -> None:
    async def value(number: int) -> int:
        if number % 2:
            await asyncio.sleep(0)
        return number

    async def main() -> None:
        assert await asyncio.gather(*(value(n) for n in range(10))) == list(range(10))
        assert await asyncio.gather(*(value(n) for n in (2, 4))) == [2, 4]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(value(number)) for number in range(4)]
        assert [task.result() for task in tasks] == [0, 1, 2, 3]
        assert await asyncio.wait_for(value(1), 10) == 1
        assert await asyncio.shield(value(3)) == 3

    eager.run_until_complete(main())


def test_a_custom_eager_factory_makes_the_class_it_is_given(loop: Loop) -> None:
    class Mine(asyncio.Task):  # type: ignore[type-arg]
        pass

    async def main() -> None:
        factory = asyncio.create_eager_task_factory(Mine)  # type: ignore[attr-defined]
        asyncio.get_running_loop().set_task_factory(factory)
        task = asyncio.create_task(asyncio.sleep(0, "slept"))
        assert type(task) is Mine
        assert await task == "slept"

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="eager_start is an argument since 3.14")
def test_eager_start_decides_for_one_task(loop: Loop) -> None:
    async def value() -> str:
        return "value"

    async def main() -> None:
        assert loop.create_task(value(), eager_start=True).done()  # type: ignore[call-arg]
        lazy = loop.create_task(value(), eager_start=False)  # type: ignore[call-arg]
        assert not lazy.done()
        assert await lazy == "value"

    loop.run_until_complete(main())


def skip_asyncios_tasks_before(version: tuple[int, int], kind: Kind) -> None:
    """A loop of saburo's with asyncio's own tasks does what these do."""
    if kind.name == "saburo-stdlib-tasks" and sys.version_info < version:
        pytest.skip("asyncio's own tasks do so from a later version on")


@pytest.mark.as_since(3, 15)
@pytest.mark.parametrize("how", ["factory", "argument"])
def test_a_task_that_cannot_enter_its_context_is_in_nobodys_list(
    kind: Kind, eager: Loop, reports: list[dict[str, Any]], how: str
) -> None:
    skip_asyncios_tasks_before((3, 15), kind)

    async def child() -> None:
        pass

    def create() -> None:
        coro = child()
        with pytest.raises(RuntimeError, match="cannot enter context"):
            if how == "factory":
                eager.create_task(coro, context=context)
            else:
                eager.create_task(coro, context=context, eager_start=True)  # type: ignore[call-arg]
        coro.close()

    async def main() -> None:
        current = asyncio.current_task()
        context.run(create)
        assert asyncio.current_task() is current
        assert asyncio.all_tasks() == {current}
        await asyncio.sleep(0)

    context = contextvars.copy_context()
    eager.run_until_complete(main())
    gc.collect()
    assert reports == []


@pytest.mark.as_since(3, 14)
@pytest.mark.parametrize("how", ["factory", "class"])
def test_a_task_does_not_begin_on_a_thread_that_does_not_run_its_loop(
    kind: Kind, eager: Loop, reports: list[dict[str, Any]], how: str
) -> None:
    skip_asyncios_tasks_before((3, 14), kind)

    task_class: Any = None
    seen: list[Any] = []

    async def child() -> None:
        seen.append("begun")

    def create() -> None:
        coro = child()
        try:
            if how == "factory":
                eager.create_task(coro)
            else:
                task_class(coro, loop=eager, eager_start=True)
        except RuntimeError as error:
            seen.append(str(error))
        coro.close()
        seen.append(asyncio._get_running_loop())

    async def main() -> None:
        nonlocal task_class
        current = asyncio.current_task()
        task_class = type(current)
        thread = threading.Thread(target=create)
        thread.start()
        thread.join()
        assert asyncio.current_task() is current
        assert asyncio.all_tasks() == {current}

    eager.run_until_complete(main())
    assert seen == [
        f"loop {eager!r} is not the running loop".replace("running=False", "running=True"),
        None,
    ]
    gc.collect()
    assert [report["message"] for report in reports] == ["Task was destroyed but it is pending!"]


@pytest.mark.as_since(3, 14)
def test_nor_on_one_that_runs_another_loop(eager: Loop, kind: Kind) -> None:
    skip_asyncios_tasks_before((3, 14), kind)

    seen: list[Any] = []

    async def child() -> None:
        seen.append("begun")

    async def elsewhere() -> None:
        current = asyncio.current_task()
        coro = child()
        try:
            eager.create_task(coro)
        except RuntimeError as error:
            seen.append(type(error))
        coro.close()
        seen.append(asyncio.current_task() is current)

    async def main() -> None:
        eager.set_exception_handler(lambda *_: None)
        other = kind.new_loop()
        thread = threading.Thread(target=other.run_until_complete, args=(elsewhere(),))
        thread.start()
        thread.join()
        other.close()

    eager.run_until_complete(main())
    assert seen == [RuntimeError, True]


def test_what_ends_the_run_comes_out_of_the_creator_too(eager: Loop) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def main() -> None:
        current = asyncio.current_task()
        with pytest.raises(SystemExit):
            asyncio.create_task(leave())
        assert asyncio.current_task() is current
        assert asyncio.all_tasks() == {current}

    eager.run_until_complete(main())


def test_tasks_that_begin_inside_each_other_take_turns_as_the_current_one(eager: Loop) -> None:
    seen: list[int] = []
    # Up to 3.13 a task gets its name only after its eager step.
    numbers: dict[Any, int] = {}

    def note() -> None:
        task = asyncio.current_task()
        seen.append(numbers.setdefault(task, len(numbers)))

    async def nest(depth: int) -> None:
        note()
        if depth:
            await asyncio.create_task(nest(depth - 1))
        else:
            with pytest.raises(KeyError):
                await asyncio.create_task(fail())
            await asyncio.sleep(0)
        note()

    async def fail() -> None:
        note()
        raise KeyError

    async def main() -> None:
        await asyncio.create_task(nest(3))

    eager.run_until_complete(main())
    assert seen == [0, 1, 2, 3, 4, 3, 2, 1, 0]


def test_a_loop_that_does_not_run_begins_nothing(eager: Loop) -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append("begun")

    task = eager.create_task(child())
    assert seen == []
    eager.run_until_complete(task)
    assert seen == ["begun"]
