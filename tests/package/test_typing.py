"""Our classes among asyncio's: isinstance, subclassing, weak references, the call graph."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind, turn

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def classes(kind: Kind) -> Any:
    """A module with Future and Task: asyncio's or ours."""
    if kind.is_saburo:
        import saburo

        return saburo
    return asyncio


async def value(result: Any) -> Any:
    await asyncio.sleep(0)
    return result


def test_isinstance_and_match_see_asyncios_classes(loop: Loop) -> None:
    import functools

    @functools.singledispatch
    def named(_thing: Any) -> str:
        return "something else"

    named.register(asyncio.Future, lambda _thing: "future")
    named.register(asyncio.Task, lambda _thing: "task")
    future, task = loop.create_future(), loop.create_task(value(1))
    assert named(future) == "future"
    assert named(task) == "task"
    match future:
        case asyncio.Task():
            raise AssertionError
        case asyncio.Future():
            pass
        case _:
            raise AssertionError
    loop.run_until_complete(task)


def test_a_future_class_can_be_called_and_subclassed(loop: Loop, classes: Any) -> None:
    class Mine(classes.Future):  # type: ignore[misc]
        def __init__(self, *, loop: Loop, mark: str) -> None:
            super().__init__(loop=loop)
            self.mark = mark

        def set_result(self, result: Any) -> None:
            super().set_result((self.mark, result))

    future = Mine(loop=loop, mark="mine")
    loop.call_soon(future.set_result, 1)
    assert isinstance(future, asyncio.Future)
    assert loop.run_until_complete(future) == ("mine", 1)
    ref = weakref.ref(future)
    del future
    gc.collect()
    turn(loop)
    assert ref() is None


def test_a_task_class_can_be_called_and_subclassed(loop: Loop, classes: Any) -> None:
    seen: list[str] = []

    class Mine(classes.Task):  # type: ignore[misc]
        def cancel(self, msg: Any = None) -> bool:
            seen.append("cancel")
            return bool(super().cancel(msg))

    task = Mine(value(2), loop=loop, name="mine")
    assert isinstance(task, asyncio.Task)
    assert task.get_name() == "mine"
    assert loop.run_until_complete(task) == 2
    sleeper = Mine(asyncio.sleep(3600), loop=loop)
    turn(loop)
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(sleeper)
    assert seen == ["cancel"]


def test_a_future_without_a_loop_belongs_to_the_running_one(loop: Loop, classes: Any) -> None:
    async def main() -> None:
        assert classes.Future().get_loop() is loop
        task = classes.Task(value(1))
        assert task.get_loop() is loop
        await task

    loop.run_until_complete(main())


def test_the_representation_names_the_class(loop: Loop, classes: Any) -> None:
    class Cup(classes.Future):  # type: ignore[misc]
        pass

    class Brew(classes.Task):  # type: ignore[misc]
        pass

    cup = Cup(loop=loop)
    assert repr(cup) == "<Cup pending>"
    brew = Brew(value(1), loop=loop, name="green")
    assert repr(brew).startswith("<Brew pending name='green' coro=<value() ")
    cup.set_result([cup])
    assert repr(cup) == "<Cup finished result=[...]>"
    loop.run_until_complete(brew)


def test_a_future_that_was_never_initialised_cannot_be_used(classes: Any) -> None:
    future: Any = classes.Future.__new__(classes.Future)
    uses: list[Callable[[], object]] = [
        lambda: future.set_result(1),
        lambda: future.set_exception(ValueError()),
        lambda: future.cancel(),
        lambda: future.add_done_callback(print),
        lambda: future.remove_done_callback(print),
        lambda: future.get_loop(),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="is not initialized|uninitialized"):
            use()


def test_initialising_once_more_is_refused(kind: Kind, loop: Loop, classes: Any) -> None:
    """It used to start over, and left whoever waited for the future waiting for good."""
    if not kind.is_saburo and sys.version_info < (3, 15):
        pytest.skip("asyncio refuses it from 3.15 on")
    future = classes.Future(loop=loop)
    task = classes.Task(value(1), loop=loop)
    coroutine = value(2)
    future.set_result("kept")
    with pytest.raises(RuntimeError, match="Future object is already initialized"):
        future.__init__(loop=loop)
    with pytest.raises(RuntimeError, match="Task object is already initialized"):
        task.__init__(coroutine, loop=loop)
    coroutine.close()
    assert future.result() == "kept"
    assert loop.run_until_complete(task) == 1


@pytest.mark.saburo_only
def test_our_tasks_run_on_other_loops(classes: Any) -> None:
    """One that failed used to leave its waiter waiting: it is struck off while it raises."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("lost")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await classes.Task(value(1), loop=loop) == 1
        failing = classes.Task(fail(), loop=loop)
        cancelled = classes.Task(asyncio.sleep(3600), loop=loop)
        with pytest.raises(LookupError, match="lost"):
            await failing
        assert asyncio.all_tasks() == {asyncio.current_task(), cancelled}
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


def test_generic_aliases(classes: Any) -> None:
    assert classes.Future[int]
    assert classes.Task[int]


def test_finalizers_of_subclasses_run(loop: Loop, classes: Any) -> None:
    seen: list[str] = []

    class Mine(classes.Future):  # type: ignore[misc]
        def __del__(self) -> None:
            seen.append("deleted")

    for _ in range(5):
        future = Mine(loop=loop)
        del future
    gc.collect()
    assert seen == ["deleted"] * 5


def test_mixing_classes_of_several_loops_kinds(loop: Loop) -> None:
    async def main() -> list[Any]:
        theirs: asyncio.Future[Any] = asyncio.Future()
        ours = loop.create_future()
        task = asyncio.Task(value("task"))
        loop.call_soon(theirs.set_result, "theirs")
        loop.call_soon(ours.set_result, "ours")
        return await asyncio.gather(theirs, ours, task, value("coroutine"))  # type: ignore[return-value]

    assert loop.run_until_complete(main()) == ["theirs", "ours", "task", "coroutine"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are of 3.14")
def test_the_call_graph_shows_who_waits_for_whom(loop: Loop) -> None:
    graphs: list[str] = []

    async def inner() -> None:
        graphs.append(asyncio.format_call_graph())  # type: ignore[attr-defined]

    async def middle() -> None:
        await inner()

    async def outer() -> None:
        await asyncio.create_task(middle(), name="middle task")

    loop.run_until_complete(loop.create_task(outer(), name="outer task"))
    (graph,) = graphs
    assert "middle task" in graph
    assert "Awaited by" in graph
    assert "outer task" in graph
    assert graph.index("inner") < graph.index("outer task")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are of 3.14")
def test_the_call_graph_passes_through_gather_and_task_groups(loop: Loop) -> None:
    graphs: list[str] = []

    async def look() -> None:
        await asyncio.sleep(0)
        graphs.append(asyncio.format_call_graph())  # type: ignore[attr-defined]

    async def outer() -> None:
        await asyncio.gather(look(), asyncio.sleep(0))
        async with asyncio.TaskGroup() as group:
            group.create_task(look())

    loop.run_until_complete(loop.create_task(outer(), name="outer task"))
    assert len(graphs) == 2
    for graph in graphs:
        assert "outer task" in graph
